"""Shampoo's stacks of gradients and matrices on a mesh.

The variables of a stack are shared out along `batch`: each device works out the
statistics, roots and directions of its own. What is kept lies along `model` too.
"""

# K variables of one shape, L devices along `batch`

from keras import ops
from tensorflow.experimental import dtensor

from keras_dalle.distribution.layout_rules import BATCH, MODEL
from keras_dalle.distribution.mesh import layout
from keras_dalle.optimizers.stacking import Stacking


class MeshStacking(Stacking):
    """As `Stacking`, with layouts.

    DTensor moves layouts from an operation to those before it, and some it cannot run
    with: that is why a stack gets its layout in several steps.

    Args:
        mesh: a DTensor mesh.
        axes_of: callable that gives the mesh axes of a variable.
    """

    def __init__(self, mesh, axes_of):
        self.mesh = mesh
        self.axes_of = axes_of
        self.parts = mesh.dim_size(BATCH)

    def stored_shape(self, shape):
        """The shape of a stored stack `[K, ...]`: K is divisible by L."""
        count, *rest = shape
        return count + -count % self.parts, *rest

    def stored_axes(self, shape):
        """The mesh axes of a stored stack."""
        return BATCH, *self._column_axes(shape[1:])

    def stack(self, tensors, variables, shape):
        axes = self._column_axes(shape)
        rows = [
            self._lay_out(self._of_shape(tensor, variable, shape), axes)
            for tensor, variable in zip(tensors, variables, strict=True)
        ]
        (count,) = self.stored_shape((len(rows),))
        rows += [ops.zeros_like(rows[0])] * (count - len(rows))
        stack = self._lay_out(ops.stack(rows), (None, *axes))
        return self.whole(self._lay_out(stack, (BATCH, *axes)))

    def unstack(self, tensor, variables):
        axes = self._column_axes(tensor.shape[1:])
        tensor = self._lay_out(self.whole(tensor), (BATCH, *axes))
        tensor = self._lay_out(tensor, (None, *axes))
        return [
            self._lay_out(self._of_variable(row, variable), self.axes_of(variable))
            for row, variable in zip(ops.unstack(tensor), variables, strict=False)
        ]

    def whole(self, stored):
        stack = ops.convert_to_tensor(stored)
        return self._lay_out(stack, (BATCH, *(None,) * (len(stack.shape) - 1)))

    def stored(self, stack):
        return self._lay_out(self.whole(stack), self.stored_axes(stack.shape))

    def _of_shape(self, gradient, variable, shape):
        gradient = self._lay_out(gradient, self.axes_of(variable))
        if tuple(gradient.shape) == tuple(shape):
            return gradient
        whole = self._lay_out(gradient, (None,) * len(gradient.shape))
        return ops.reshape(whole[tuple(map(slice, variable.shape))], shape)

    def _of_variable(self, tensor, variable):
        """Of its logical shape, and filled up with zeros to its stored one."""
        if tuple(tensor.shape) == tuple(variable.value.shape):
            return tensor
        whole = self._lay_out(tensor, (None,) * len(tensor.shape))
        whole = ops.reshape(whole, variable.shape)
        missing = [
            (0, stored - size)
            for stored, size in zip(variable.value.shape, variable.shape, strict=True)
        ]
        return self._lay_out(ops.pad(whole, missing), (None,) * len(missing))

    def _column_axes(self, shape):
        """The last dimension lies along `model`, if it can."""
        last = None if shape[-1] % self.mesh.dim_size(MODEL) else MODEL
        return *(None,) * (len(shape) - 1), last

    def _lay_out(self, tensor, axes):
        return dtensor.relayout(tensor, layout(self.mesh, axes))
