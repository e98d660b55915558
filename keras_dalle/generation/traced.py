"""Where a task keeps the functions that it has traced."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class _Kept:
    """Traced functions by name, and what was traced with them.

    No tuple or dictionary: Keras would save what is in these with the task's weights.
    """

    preprocessor: Any
    vqgan: Any
    length: int
    functions: dict[Any, Any] = dataclasses.field(default_factory=dict)

    def is_of(self, task: Any, length: int) -> bool:
        same = self.preprocessor is task.preprocessor and self.vqgan is task.vqgan
        return same and self.length == length


def traced_functions(task: Any) -> dict[Any, Any]:
    """A task's traced functions; none after its preprocessor or VQGAN was exchanged.

    A graph holds the vocabulary and the text length of the preprocessor that it was
    traced with.

    Args:
        task: a `DalleBartTextToImage`.

    Raises:
        ValueError: the preprocessor writes more tokens than the backbone reads.
    """
    most = task.backbone.max_text_length
    length = most if task.preprocessor is None else task.preprocessor.max_text_length
    if length > most:
        raise ValueError(
            f"`max_text_length` of the preprocessor (={length}) must be at most that "
            f"of the backbone (={most}). Make it smaller."
        )
    # Past Keras's `__setattr__`, which would track it as a model's part.
    kept = task.__dict__.get("_traced_functions")
    if kept is None or not kept.is_of(task, length):
        kept = _Kept(task.preprocessor, task.vqgan, length)
        task.__dict__["_traced_functions"] = kept
    return kept.functions
