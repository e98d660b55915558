"""Inputs of a request: a column [B] of each, from one value or from B of them."""

# B rows, T image tokens

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

COLUMNS: dict[str, type] = {
    "prompt": object,
    "negative_prompt": object,
    "seed": np.int64,
    "guidance_scale": np.float32,
    "guidance_scale_end": np.float32,
    "temperature": np.float32,
    "top_k": np.int32,
    "top_p": np.float32,
    "image_bytes": object,
    "mask_bytes": object,
    "kept_rows": np.int32,
    "image_tokens_bytes": object,
    "max_new_tokens": np.int32,
}


def column(name: str, values: Any, rows: int) -> tensor_pb2.TensorProto:
    """A [B] tensor of one value for all rows, or of B values."""
    dtype = COLUMNS[name]
    if issubclass(dtype, np.integer):
        _check_range(name, values, np.iinfo(dtype))
    array: np.ndarray = np.asarray(values, dtype)
    if array.shape not in ((), (rows,)):
        raise ValueError(
            f"`{name}` must be one value or one for each of the {rows} rows. "
            f"Received: {values!r}"
        )
    return tf.make_tensor_proto(np.broadcast_to(array, [rows]))


def _check_range(name: str, values: Any, limits: np.iinfo) -> None:
    """Raises for integers that NumPy would refuse unnamed, or wrap in silence."""
    array = np.asarray(values)
    if np.any(array < limits.min) or np.any(array > limits.max):
        raise ValueError(
            f"`{name}` must be from {limits.min} to {limits.max}. Received: {values!r}"
        )


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
        _check_range("image_tokens", tokens, np.iinfo(np.int32))
        packed.append(tokens.astype("<i4").tobytes())
    return packed


def unpack_tokens(packed: bytes) -> np.ndarray:
    """int32 [N]: the other way."""
    return np.frombuffer(packed, "<i4").astype(np.int32)
