"""Tensors as the JSON of the REST API, in rows ("predictions") or columns ("outputs").

The rules and texts are those of the stock server's `util/json_tensor.cc`.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_dalle.prediction_service.errors import invalid_argument
from keras_dalle.prediction_service.json_tensors import (
    BASE64,
    COLUMNS,
    ROWS,
    cpp_name,
)

_ANSWER_KEYS = {ROWS: "predictions", COLUMNS: "outputs"}
_BYTES_SUFFIX = "_bytes"
# The stock server writes no other dtype.
_WRITABLE = {
    *(tf.int8, tf.int16, tf.int32, tf.int64),
    *(tf.uint8, tf.uint32, tf.uint64),
    *(tf.float32, tf.float64, tf.bool, tf.string),
}


def answer(outputs: Mapping[str, np.ndarray], layout: str) -> bytes:
    """The body of an answer.

    Args:
        outputs: Arrays by alias. Strings are base64 where the alias ends in `_bytes`.
        layout: `ROWS` or `COLUMNS`.

    Raises:
        ServingError: JSON has no such dtype, or rows differ in number.
    """
    columns = {alias: _json_of_array(alias, array) for alias, array in outputs.items()}
    content: Any
    if layout == COLUMNS:
        content = columns if len(columns) > 1 else next(iter(columns.values()))
    else:
        _check_rows(outputs)
        rows = zip(*columns.values(), strict=True)
        content = [
            dict(zip(columns, row, strict=True)) if len(columns) > 1 else row[0]
            for row in rows
        ]
    return to_bytes({_ANSWER_KEYS[layout]: content})


def _check_rows(outputs: Mapping[str, np.ndarray]) -> None:
    expected = None
    for alias, array in outputs.items():
        shape = np.shape(array)
        if not shape:
            raise invalid_argument(f"Tensor name: {alias} has no shape information ")
        if expected not in (None, shape[0]):
            raise invalid_argument(
                f"Tensor name: {alias} has inconsistent batch size: {shape[0]} "
                f"expecting: {expected}"
            )
        expected = shape[0]


def _json_of_array(alias: str, array: np.ndarray | bytes) -> Any:
    array = np.asarray(array, object if isinstance(array, bytes) else None)
    dtype = tf.as_dtype(array.dtype)
    if dtype not in _WRITABLE:
        raise invalid_argument(
            f"Failed to write JSON value for tensor type: {cpp_name(dtype)}"
        )
    if dtype == tf.float32:
        # As `float32`, for all of them.
        return array.astype(str).astype(np.float64).tolist()
    if dtype == tf.string:
        encoded = np.empty(array.shape, object)
        for index, text in np.ndenumerate(array):
            encoded[index] = (
                {BASE64: base64.b64encode(text).decode("ascii")}
                if alias.endswith(_BYTES_SUFFIX)
                else text.decode("utf-8", "surrogateescape")
            )
        return encoded.tolist()
    return array.tolist()


def to_bytes(content: Any) -> bytes:
    text = json.dumps(content, ensure_ascii=False)
    return text.encode("utf-8", "surrogateescape") + b"\n"
