"""From what a user asks for to rows, and from rows to pictures."""

# N pictures, H height, W width

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from keras_dalle.commands.grids import prompt_bytes
from keras_dalle.generation.parameters import PARAMETERS
from keras_dalle.utils.fingerprints import fingerprint_of_pixels
from keras_dalle.utils.picture_metadata import PictureRow

# A call of 16 pictures shows progress, and of fewer takes hardly less time.
ROWS_AT_ONCE = 16
_SEEDS = 2**64

Draw = Callable[[Sequence[PictureRow]], np.ndarray]


def given_parameters(options: Mapping[str, Any]) -> dict[str, int | float]:
    """The generation's parameters among a command's options, without those left open.

    Args:
        options: the options by name, as of `typer.Context.params`.
    """
    names = [parameter.name for parameter in PARAMETERS]
    return {name: options[name] for name in names if options.get(name) is not None}


def rows_of(
    prompt: str,
    negative_prompt: str,
    parameters: Mapping[str, int | float],
    num_images: int = 1,
) -> list[PictureRow]:
    """The rows of a prompt's pictures; picture i has the seed `seed + i`.

    Args:
        prompt: the text.
        negative_prompt: what to steer away from.
        parameters: every parameter's value by its name.
        num_images: how many.
    """
    seed = int(parameters["seed"])
    # Past the largest int64 comes the smallest, as in `generate`.
    seeds = [(seed + i + _SEEDS // 2) % _SEEDS - _SEEDS // 2 for i in range(num_images)]
    return [
        PictureRow(prompt, negative_prompt, {**parameters, "seed": seed})
        for seed in seeds
    ]


def drawer_of(task: Any) -> Draw:
    """A function from rows to their pictures, uint8 [N, H, W, 3], by one call.

    Args:
        task: a `DalleBartTextToImage`, or a `ServedModel`.
    """

    def draw(rows: Sequence[PictureRow]) -> np.ndarray:
        return task.generate(**arguments_of(rows))

    return draw


def arguments_of(rows: Sequence[PictureRow]) -> dict[str, Any]:
    """What `generate` is called with to draw rows."""
    inputs = {
        "prompts": [prompt_bytes(row.prompt) for row in rows],
        "negative_prompts": [prompt_bytes(row.negative_prompt) for row in rows],
    }
    return {"inputs": inputs, **given_images(rows), **columns_of(rows)}


def given_images(rows: Sequence[PictureRow]) -> dict[str, list[Sequence[int]]]:
    """What stays of the rows' given pictures, as `generate` takes it, if there is any.

    A row without a picture draws all of its tokens.
    """
    length = max(len(row.known_tokens or ()) for row in rows)
    if not length:
        return {}
    return {"image": [row.known_tokens or [-1] * length for row in rows]}


def columns_of(rows: Sequence[PictureRow]) -> dict[str, list[int | float]]:
    """The parameters of rows: name to one value a row."""
    return {name: [row.parameters[name] for row in rows] for name in rows[0].parameters}


def draw_in_batches(
    draw: Draw, rows: Sequence[PictureRow]
) -> Iterator[tuple[PictureRow, np.ndarray]]:
    """Yields each row, with its picture's fingerprint, and the picture [H, W, 3]."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        batch = rows[start : start + ROWS_AT_ONCE]
        for row, image_HWC in zip(batch, draw(batch), strict=True):
            yield with_fingerprint(row, image_HWC), image_HWC


def with_fingerprint(row: PictureRow, image_HWC: np.ndarray) -> PictureRow:
    """A row that knows its picture."""
    return replace(row, pixels_sha256=fingerprint_of_pixels(image_HWC))
