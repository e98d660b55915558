"""Tensors as the JSON of the REST API, in rows ("predictions") or columns ("outputs").

The rules and texts are those of the stock server's `util/json_tensor.cc`.
"""

import base64
import json
from collections.abc import Iterable, Mapping
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
# Values to write at once: it takes milliseconds, and pictures have some MB.
_PIECE_NUMBERS, _PIECE_STRINGS = 4096, 16
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
    arrays = {alias: _checked(array) for alias, array in outputs.items()}
    if layout == ROWS:
        _check_rows(arrays)
    if len(arrays) == 1:
        ((alias, array),) = arrays.items()
        content = _text(alias, array)
    elif layout == COLUMNS:
        content = _object(arrays)
    else:
        rows = len(next(iter(arrays.values())))
        content = _list(
            _object({alias: array[row, ...] for alias, array in arrays.items()})
            for row in range(rows)
        )
    return _encoded(f'{{"{_ANSWER_KEYS[layout]}": {content}}}')


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


def _checked(array: np.ndarray | bytes) -> np.ndarray:
    array = np.asarray(array, object if isinstance(array, bytes) else None)
    dtype = tf.as_dtype(array.dtype)
    if dtype not in _WRITABLE:
        raise invalid_argument(
            f"Failed to write JSON value for tensor type: {cpp_name(dtype)}"
        )
    return array


def _object(arrays: Mapping[str, np.ndarray]) -> str:
    members = (f"{_dumps(name)}: {_text(name, arrays[name])}" for name in arrays)
    return f"{{{', '.join(members)}}}"


def _list(items: Iterable[str]) -> str:
    return f"[{', '.join(items)}]"


def _text(alias: str, array: np.ndarray) -> str:
    """Writes an array as JSON, in pieces; other threads run between two of them."""
    most = _PIECE_STRINGS if array.dtype == object else _PIECE_NUMBERS
    if array.size <= most:
        return _dumps(_values(alias, array))
    rows = most // (array.size // len(array))
    if rows == 0:
        return _list(_text(alias, array[row, ...]) for row in range(len(array)))
    pieces = (array[at : at + rows] for at in range(0, len(array), rows))
    return _list(_text(alias, piece)[1:-1] for piece in pieces)


def _values(alias: str, array: np.ndarray) -> Any:
    if array.dtype == np.float32:
        # 0.2 and not 0.20000000298, which is the same float32.
        return array.astype(str).astype(np.float64).tolist()
    if array.dtype != object:
        return array.tolist()
    encoded = np.empty(array.shape, object)
    for index, text in np.ndenumerate(array):
        encoded[index] = (
            {BASE64: base64.b64encode(text).decode("ascii")}
            if alias.endswith(_BYTES_SUFFIX)
            else text.decode("utf-8", "surrogateescape")
        )
    return encoded.tolist()


def to_bytes(content: Any) -> bytes:
    return _encoded(_dumps(content))


def _dumps(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape") + b"\n"
