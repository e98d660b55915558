"""Inputs of a request: a column [B] of each, from one value or from B of them."""

# B rows, T image tokens

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from keras_dalle.utils.foreign_values import shortened
from keras_dalle.utils.plain_values import byte_strings, integers, reals, texts

COLUMNS: dict[str, type] = {
    "prompt": str,
    "negative_prompt": str,
    "seed": np.int64,
    "guidance_scale": np.float32,
    "guidance_scale_end": np.float32,
    "temperature": np.float32,
    "top_k": np.int32,
    "top_p": np.float32,
    "image_bytes": bytes,
    "mask_bytes": bytes,
    "kept_rows": np.int32,
    "image_tokens_bytes": bytes,
    "max_new_tokens": np.int32,
}


def column(name: str, values: Any, rows: int) -> tensor_pb2.TensorProto:
    """A [B] tensor of one value for all rows, or of B values."""
    array = _checked(name, values)
    if array.shape not in ((), (rows,)):
        raise ValueError(
            f"`{name}` must be one value or one for each of the {rows} rows. "
            f"Received: {len(array)} values."
        )
    return tf.make_tensor_proto(np.broadcast_to(array, [rows]))


def rows_of(name: str, values: Any) -> int:
    """Returns the number of rows of a column that has one value for each row.

    Raises:
        ValueError: it is one value, or none of the column's kind.
    """
    array = _checked(name, values)
    if not array.ndim:
        raise ValueError(
            f"`{name}` must be a list, one per row. Received: {shortened(array[()])}."
        )
    return len(array)


def _checked(name: str, values: Any) -> np.ndarray:
    dtype = COLUMNS[name]
    if dtype is bytes:
        return byte_strings(name, values)
    if dtype is str:
        return texts(name, values)
    if issubclass(dtype, np.integer):
        return integers(name, values, dtype)
    return reals(name, values).astype(dtype)


def pack_tokens(image_tokens: Iterable[Any]) -> list[bytes]:
    """Rows of image tokens as the bytes in which they travel, little-endian int32.

    Raises:
        ValueError: a row does not hold integers of 32 bits.
    """
    packed = []
    for row in image_tokens:
        tokens = np.asarray(row)
        if tokens.ndim != 1 or (tokens.size and tokens.dtype.kind not in "iu"):
            raise ValueError(
                "`image_tokens` must be a row of integers a picture. Received: "
                f"{tokens.dtype} {list(tokens.shape)}."
            )
        tokens = integers("image_tokens", tokens, np.int32)
        packed.append(tokens.astype("<i4").tobytes())
    return packed


def unpack_tokens(packed: bytes) -> np.ndarray:
    """int32 [N]: the other way."""
    return np.frombuffer(packed, "<i4").astype(np.int32)
