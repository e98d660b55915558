"""The functions that a task has traced, kept with the task."""

from typing import Any


def traced_functions(task: Any) -> dict[Any, Any]:
    """Returns a task's traced functions, or none after a part of it was exchanged.

    A graph holds the VQGAN, and the vocabulary and the text length of the preprocessor
    that it was traced with.

    Args:
        task: a `DalleBartTextToImage`.

    Raises:
        ValueError: the preprocessor writes more tokens than the backbone reads.
    """
    preprocessor, most = task.preprocessor, task.backbone.max_text_length
    length = most if preprocessor is None else preprocessor.max_text_length
    if length > most:
        raise ValueError(
            f"`max_text_length` of the preprocessor (={length}) must be at most that "
            f"of the backbone (={most}). Make it smaller."
        )
    # The parts themselves, since Python may give a deleted part's id to a new one.
    parts = (preprocessor, task.vqgan)
    # Not by Keras's `__setattr__`, which would track the dictionary as a model's part.
    kept = task.__dict__.get("_traced_functions")
    if kept is None or kept[0] != length or not _same(kept[1], parts):
        kept = task.__dict__["_traced_functions"] = (length, parts, {})
    return kept[2]


def _same(some: tuple, others: tuple) -> bool:
    return all(one is other for one, other in zip(some, others, strict=True))
