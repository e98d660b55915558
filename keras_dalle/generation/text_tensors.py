"""Texts and image tokens of any form as tensors."""

from typing import Any

import numpy as np
import tensorflow as tf

from keras_dalle.utils.foreign_values import shortened
from keras_dalle.utils.plain_values import texts


def text_tensor(name: str, values: Any) -> tf.Tensor:
    """Returns a string tensor: [] for one text, [B] for a batch.

    Args:
        name: of the texts, for errors.
        values: one text, or a list, array or tensor of texts; in a graph a tensor.

    Raises:
        ValueError: it is something else.
    """
    if not tf.is_tensor(values):
        return tf.constant(texts(name, values), tf.string)
    is_ragged = isinstance(values, tf.RaggedTensor)
    if is_ragged or values.dtype != tf.string or (values.shape.rank or 0) > 1:
        raise ValueError(
            f"`{name}` must be one text, or a batch of texts [B]. Received: a tensor "
            f"of {values.dtype.name} {values.shape}."
        )
    return values


def token_tensor(name: str, values: Any) -> tf.Tensor:
    """Returns an int32 tensor: [T] for one picture's tokens, [B, T] for a batch's.

    Args:
        name: of the tokens, for errors.
        values: integers in lists, an array or a tensor; in a graph a tensor.

    Raises:
        ValueError: it is something else.
    """
    try:
        tokens = values if tf.is_tensor(values) else np.asarray(values)
    except ValueError:
        tokens = np.array(None)  # Rows of several lengths.
    is_integer = tokens.dtype != object and tf.as_dtype(tokens.dtype).is_integer
    shape = tf.TensorShape(tokens.shape)
    if not is_integer or shape.rank not in (None, 1, 2):
        raise ValueError(
            f"`{name}` must be integers [B, T], or [T] of one picture. Received: "
            f"{tokens.dtype} {shape}."
        )
    return tf.cast(tokens, tf.int32)


def id_tensor(name: str, values: Any) -> tf.Tensor | tf.RaggedTensor:
    """Returns token ids [..., N] as a tensor, ragged if rows have several lengths.

    Args:
        name: of the ids, for errors.
        values: integers in lists, an array, or a tensor, ragged too.

    Raises:
        ValueError: it is something else.
    """
    if tf.is_tensor(values):
        ids = values
    else:
        try:
            ids = np.asarray(values)
        except ValueError:
            ids = tf.ragged.constant(values)
        if isinstance(ids, np.ndarray) and not ids.size:
            ids = ids.astype(np.int32)
    is_integer = ids.dtype != object and tf.as_dtype(ids.dtype).is_integer
    if not is_integer or tf.TensorShape(ids.shape).rank == 0:
        raise ValueError(
            f"`{name}` must be integers [..., N]. Received: {shortened(values)}."
        )
    return tf.convert_to_tensor(ids) if isinstance(ids, np.ndarray) else ids
