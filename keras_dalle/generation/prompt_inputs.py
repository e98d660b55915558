"""Prompts that a user gives `generate`: texts in Python, tensors or a dataset."""

# B prompts

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_dalle.utils.foreign_values import shortened
from keras_dalle.utils.plain_values import texts

# Arrays [B, ...] by name, and whether there was one row without a batch.
RowsRead = tuple[dict[str, np.ndarray], bool]


def text_rows(inputs: Any) -> RowsRead:
    """Reads a text, a list, an array or a tensor of texts, a dictionary or a dataset.

    Args:
        inputs: see `keras_dalle.generation.drawing.Drawing.generate`.

    Returns:
        `prompt` and `negative_prompt`, objects [B], and whether there was one prompt
        without a batch.

    Raises:
        ValueError: it is something else.
    """
    return rows_of_elements(inputs, _text_rows)


def _text_rows(inputs: Any) -> RowsRead:
    found = prompts_and_negatives(
        inputs, "a text, a list of texts, a `tf.data.Dataset`"
    )
    prompts = texts("prompts", found["prompts"])
    negatives = texts("negative_prompts", found.get("negative_prompts", ""))
    rows = {
        "prompt": np.atleast_1d(prompts),
        "negative_prompt": one_a_prompt("negative_prompts", negatives, prompts.size),
    }
    return rows, prompts.ndim == 0


def prompts_and_negatives(inputs: Any, forms: str) -> dict[str, Any]:
    """Splits inputs into prompts and, if given, negative prompts.

    Args:
        inputs: a dictionary of both, or prompts alone.
        forms: the forms that prompts alone may have, for the error.

    Raises:
        ValueError: a dictionary has other names.
    """
    if not isinstance(inputs, dict):
        return {"prompts": inputs}
    if "prompts" not in inputs or set(inputs) - {"prompts", "negative_prompts"}:
        raise ValueError(
            f"`inputs` must be {forms}, or a dictionary with `prompts` and, if wanted, "
            f"`negative_prompts`. Received: {shortened(list(inputs))}."
        )
    return inputs


def one_a_prompt(name: str, values: np.ndarray, count: int) -> np.ndarray:
    """Returns values [B], from one value [] for all prompts or from one per prompt.

    Args:
        name: the name of the values, for the error.
        values: [] or [B].
        count: B.

    Raises:
        ValueError: there is another number of values.
    """
    if values.ndim and len(values) != count:
        raise ValueError(
            f"`{name}` must be one value, or one per prompt (={count}). Received: "
            f"{len(values)} values."
        )
    return np.broadcast_to(values, [count])


def rows_of_elements(inputs: Any, read: Callable[[Any], RowsRead]) -> RowsRead:
    """Applies `read` to inputs, or to all elements of a dataset together.

    Args:
        inputs: inputs for `read`, or a dataset of them: single rows or batches.
        read: from inputs to their rows.

    Raises:
        ValueError: a dataset has no end or has tuples, or `read` raises.
    """
    if not isinstance(inputs, tf.data.Dataset):
        return read(inputs)
    if inputs.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "`inputs` must be a dataset that ends. Received: an endless one. Take a "
            "part of it, such as `dataset.take(10)`."
        )
    if isinstance(inputs.element_spec, tuple):
        raise ValueError(
            "`inputs` must be a dataset of prompts, or of dictionaries with `prompts`. "
            f"Received: tuples of {len(inputs.element_spec)}. Choose one part, such as "
            "`dataset.map(lambda x, y: x)`."
        )
    batches = [read(element)[0] for element in inputs]
    if not batches:
        return read([])[0], False
    return {
        name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]
    }, False
