"""Accuracy a token, without any device seeing all logits of one."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_dalle")
class TokenAccuracy(keras.metrics.MeanMetricWrapper):
    """The share of tokens whose largest logit, the first of equal ones, is the target.

    The same number as `keras.metrics.SparseCategoricalAccuracy`, whose `argmax` brings
    logits that lie on several devices together on each.

    Args:
        name: string.
        dtype: of the result.
    """

    def __init__(self, name="token_accuracy", dtype=None):
        super().__init__(is_target_first, name=name, dtype=dtype)

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}


def is_target_first(targets, logits):
    """1 where the first of the largest logits is the target's.

    Args:
        targets: `[B, T]`.
        logits: `[B, T, V]`.

    Returns:
        float `[B, T]`.
    """
    size = logits.shape[-1]
    largest = ops.max(logits, axis=-1, keepdims=True)
    indices = ops.where(logits == largest, ops.arange(size), ops.full((size,), size))
    first = ops.min(indices, axis=-1)
    return ops.cast(first == ops.cast(targets, first.dtype), logits.dtype)
