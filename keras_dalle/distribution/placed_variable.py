"""A Keras variable that can be on a mesh or in one place."""

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.experimental import dtensor

from keras_dalle.distribution.mesh import layout, to_host, to_mesh
from keras_dalle.distribution.private_api import (
    replace_tensorflow_variable,
    tensorflow_variable,
)


class MeshVariable(dtensor.DVariable):
    """A variable on a mesh that other code may read and assign as an ordinary one.

    Outside of a `tf.function`, its `numpy()` is whole and of its logical shape, and so
    is what it may be assigned: callbacks save and restore weights so. With several
    processes, each must do the same.

    Args:
        initial_value: a DTensor. What it has more than the logical shape is zeros.
        logical_shape: tuple of ints.
        **kwargs: of `tf.Variable`.
    """

    def __init__(self, initial_value, *, logical_shape, **kwargs):
        self._logical_shape = tuple(logical_shape)
        super().__init__(initial_value, **kwargs)

    def numpy(self):
        return to_host(self.read_value())[tuple(map(slice, self._logical_shape))]

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.numpy(), dtype)

    def assign(self, value, use_locking=None, name=None, read_value=True):
        if tf.executing_eagerly() and not _is_dtensor(value):
            array = np.asarray(value, self.dtype.as_numpy_dtype)
            if array.shape != self._logical_shape:
                raise ValueError(
                    "What is assigned must have the variable's shape "
                    f"{self._logical_shape}. Received: {array.shape} for {self.name!r}."
                )
            value = stored(array, self.layout, tuple(self.shape))
        return super().assign(value, use_locking, name, read_value)


def _is_dtensor(value) -> bool:
    return isinstance(value, tf.Tensor) and dtensor.is_dtensor(value)


def stored(array, layout, shape):
    """An array on a mesh, filled up with zeros to a shape."""
    filled = np.zeros(shape, array.dtype)
    filled[tuple(map(slice, array.shape))] = array
    return to_mesh(filled, layout)


def is_on_mesh(variable) -> bool:
    """Whether a Keras variable stands for one on a mesh."""
    return isinstance(tensorflow_variable(variable), MeshVariable)


class PlacedVariable:
    """Two `tf.Variable`s of which one stands behind a Keras variable.

    Both stay the same objects, so that what was compiled or listed for a checkpoint
    keeps its meaning.

    Args:
        variable: a `keras.Variable`, not yet on a mesh.
        axes: mesh axis or `None` of each dimension.
        mesh: a DTensor mesh.
        stored_shape: its shape on the mesh; what it has more than the variable is
            zeros.
    """

    def __init__(self, variable, axes, mesh, stored_shape):
        self.variable = variable
        self.axes = axes
        self._layout = layout(mesh, axes)
        self._plain = tensorflow_variable(variable)
        self._stored_shape = stored_shape
        self._on_mesh: Any = None

    def spread(self):
        """Takes the value to the mesh."""
        array = self._plain.numpy()
        if self._on_mesh is None:
            self._on_mesh = MeshVariable(
                stored(array, self._layout, self._stored_shape),
                logical_shape=array.shape,
                trainable=self.variable.trainable,
                name=self.variable.name,
            )
        else:
            self._on_mesh.assign(array)
        replace_tensorflow_variable(self.variable, self._on_mesh)

    def gather(self):
        """Takes the value back."""
        self._plain.assign(self._on_mesh.numpy())
        replace_tensorflow_variable(self.variable, self._plain)

    @property
    def has_zero_columns(self) -> bool:
        """Whether its last dimension is longer on the mesh."""
        return self._stored_shape[-1] != self.variable.shape[-1]

    @property
    def bytes_per_device(self) -> int:
        """What one device holds of it."""
        piece = dtensor.unpack(self._on_mesh.read_value())[0]
        return piece.dtype.size * piece.shape.num_elements()
