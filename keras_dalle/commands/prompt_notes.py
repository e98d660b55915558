"""Notes about prompts that a command prints before it draws them."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from keras_dalle.commands.progress import console

if TYPE_CHECKING:
    from keras_dalle.commands.folders import Request

_SHOWN = 8


@contextmanager
def prompts_told(model: Any, requests: "Iterable[Request]") -> Iterator[None]:
    """Prints, in place of warnings, where prompts are cut and which weights they have.

    Args:
        model: a `DalleBartTextToImage`, or a `ServedModel`.
        requests: the requests that are drawn in the block.
    """
    from keras_dalle.commands.grids import prompt_bytes
    from keras_dalle.generation.prompt_notes import (
        PromptWarning,
        notes_of_cuts,
        notes_of_weights,
    )

    rows = [request.row for request in requests]
    prompts = [prompt_bytes(row.prompt) for row in rows]
    negative_prompts = [prompt_bytes(row.negative_prompt) for row in rows]
    reader = getattr(model, "preprocessor", model)
    _print(notes_of_weights(prompts, all_of_them=True))
    _print(notes_of_cuts(reader, prompts + negative_prompts))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptWarning)
        yield


def _print(notes: list[str]) -> None:
    more = f"And {len(notes) - _SHOWN} more such prompts."
    shown = notes[:_SHOWN] + ([more] if len(notes) > _SHOWN else [])
    for note in shown:
        console.print(note, markup=False, soft_wrap=True)
