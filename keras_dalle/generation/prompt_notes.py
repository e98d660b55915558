"""Notes about a prompt before it is drawn: its weights, and where it is cut.

Python warns with them, the command line prints them.
"""

# B prompts, C the most parts of one of them

import re
import warnings
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from keras_dalle.generation.weighted_prompts import prompt_faults, weighted_parts
from keras_dalle.utils.foreign_values import shortened

# A time, a score or a ratio at the end of a part has been read as its weight.
_LIKE_A_TIME = re.compile(r"\d(:[-+]?[\d.]+)\s*(?: AND |$)")
_SHOWN_CHARACTERS = 40


class PromptWarning(UserWarning):
    """A prompt may not be read as it was meant."""


def notes_of_weights(prompts: Iterable[Any], *, all_of_them: bool) -> list[str]:
    """Describes the parts and weights of each prompt with parts, once each.

    Args:
        prompts: `str` or `bytes`. Those with a fault are left out.
        all_of_them: whether to describe also weights that are clearly meant as weights.
    """
    prompts = [
        p for p in {_text(p): p for p in prompts}.values() if " AND " in _text(p)
    ]
    if not prompts:
        return []
    prompt_B = tf.constant(prompts, tf.string)
    texts_BC, weights_BC = (x.numpy().tolist() for x in weighted_parts(prompt_B))
    notes = []
    for row, prompt in enumerate(prompts):
        likes = _LIKE_A_TIME.findall(_text(prompt))
        is_good = not prompt_faults(prompt_B[row : row + 1]).numpy()[0]
        if is_good and (likes or all_of_them):
            count = _text(prompt).count(" AND ") + 1
            parts = zip(texts_BC[row][:count], weights_BC[row], strict=False)
            notes.append(_note_of_weights(prompt, parts, likes))
    return notes


def _note_of_weights(prompt, parts, likes):
    read = ", ".join(f"{_shown(text)} with weight {weight:g}" for text, weight in parts)
    note = f"The prompt {_shown(prompt)} has parts: {read}."
    if likes:
        note += f" If `{likes[0]}` is text, write `\\{likes[0]}`."
    return note


def notes_of_cuts(reader: Any, prompts: Iterable[Any]) -> list[str]:
    """Describes where prompts longer than the model reads are cut, once each.

    Args:
        reader: has a method `kept_and_left_out`, which returns a pair of texts for each
            text that is cut; see `DalleBartTextToImagePreprocessor`.
        prompts: `str` or `bytes`, negative prompts included.
    """
    prompts = list(dict.fromkeys(prompts))
    if not prompts:
        return []
    parts = weighted_parts(tf.constant(prompts, tf.string)).texts_BC
    texts = list(dict.fromkeys(tf.reshape(parts, [-1]).numpy().tolist()))
    return [_note_of_a_cut(*pair) for pair in reader.kept_and_left_out(texts)]


def _note_of_a_cut(kept: str, left_out: str) -> str:
    tail, head = kept[-_SHOWN_CHARACTERS:], left_out[:_SHOWN_CHARACTERS]
    before = "..." if len(tail) < len(kept) else ""
    behind = "..." if len(head) < len(left_out) else ""
    return (
        "A prompt is longer than the model reads. It is cut behind "
        f"`{before}{tail.strip()}`; left out: `{head.strip()}{behind}`. Shorten it."
    )


def warn_of_prompts(
    reader: Any,
    prompts: Iterable[Any],
    negative_prompts: Iterable[Any] = (),
    *,
    stacklevel: int = 2,
) -> None:
    """Warns of prompts that are cut, and of weights that may be meant as text.

    Args:
        reader: see `notes_of_cuts`.
        prompts: `str` or `bytes`.
        negative_prompts: the same.
        stacklevel: see `warnings.warn`.
    """
    prompts = list(prompts)
    weights = notes_of_weights(prompts, all_of_them=False)
    for notes in (weights, notes_of_cuts(reader, [*prompts, *negative_prompts])):
        if notes:
            others = f" Also {len(notes) - 1} more." if len(notes) > 1 else ""
            warnings.warn(notes[0] + others, PromptWarning, stacklevel=stacklevel + 1)


def _text(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else prompt.decode(errors="replace")


def _shown(text: Any) -> str:
    return shortened(_text(text))
