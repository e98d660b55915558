"""A Keras variable that can be on a mesh or in one place."""

from typing import Any

import numpy as np
from tensorflow.experimental import dtensor

from keras_dalle.distribution.mesh import layout, to_host, to_mesh
from keras_dalle.distribution.private_api import (
    replace_tensorflow_variable,
    tensorflow_variable,
)


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
        self._logical = tuple(slice(size) for size in variable.shape)
        self._stored_shape = stored_shape
        self._on_mesh: Any = None

    def spread(self):
        """Takes the value to the mesh."""
        plain = self._plain.numpy()
        array = np.zeros(self._stored_shape, plain.dtype)
        array[self._logical] = plain
        value = to_mesh(array, self._layout)
        if self._on_mesh is None:
            self._on_mesh = dtensor.DVariable(
                value, trainable=self.variable.trainable, name=self.variable.name
            )
        else:
            self._on_mesh.assign(value)
        replace_tensorflow_variable(self.variable, self._on_mesh)

    def gather(self):
        """Takes the value back."""
        array = to_host(self._on_mesh.read_value())
        self._plain.assign(array[self._logical])
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
