"""Tensors of a checkpoint file, read one by one when they are asked for.

A checkpoint is a mapping from names to `StoredTensor`, whatever its format.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from keras_dalle.utils.foreign_values import shortened

# L layers


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that is read when it is asked for.

    Attributes:
        shape: its shape.
        dtype: its dtype in the file.
        read: reads it, an array of that shape and dtype.
        read_layer: reads index i of the first axis alone, where the file allows
            that; otherwise `layer` cuts it out of the whole.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]
    read_layer: Callable[[int], np.ndarray] | None = None

    @classmethod
    def of(cls, array: np.ndarray) -> "StoredTensor":
        """An array that is in memory already, as a `StoredTensor`."""
        return cls(array.shape, array.dtype, lambda: array, lambda i: array[i])

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return num_bytes(self.shape, self.dtype)

    def layer(self, i: int) -> "StoredTensor":
        """Index `i` of the first axis: `[L, ...]` -> `[...]`."""
        return StoredTensor(self.shape[1:], self.dtype, lambda: self._read_layer(i))

    def _read_layer(self, i: int) -> np.ndarray:
        return self.read()[i] if self.read_layer is None else self.read_layer(i)


def num_bytes(shape: Sequence[int], dtype: np.dtype) -> int:
    """The size of an array; Python's integers, which do not overflow."""
    size = dtype.itemsize
    for length in shape:
        size *= length
    return size


def stack(layers: Sequence[StoredTensor]) -> StoredTensor:
    """Lays tensors of one shape and dtype behind one another: `[L, ...]`.

    Args:
        layers: L tensors `[...]`, of which one at a time is read.

    Raises:
        ValueError: their shapes or dtypes differ.
    """
    first = layers[0]
    kinds = {(layer.shape, layer.dtype.name) for layer in layers}
    if len(kinds) > 1:
        raise ValueError(
            "Tensors must have one shape and dtype to be stacked. "
            f"Received: {shortened(sorted(kinds))}."
        )
    shape = (len(layers), *first.shape)

    def read() -> np.ndarray:
        stacked = np.empty(shape, first.dtype)
        for i, layer in enumerate(layers):
            stacked[i] = layer.read()
        return stacked

    return StoredTensor(shape, first.dtype, read, lambda i: layers[i].read())
