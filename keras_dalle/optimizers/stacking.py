"""Tensors of several variables as one, and back."""

# K variables of one shape, J matrices of each, M their side

from keras import ops


class Stacking:
    """How Shampoo works on all variables of a shape at once, in one place.

    `keras_dalle.distribution` puts another one in its stead, for a mesh.
    """

    def stack(self, gradients, variables, shape):
        """The gradients of variables -> `[K, *shape]`."""
        del variables
        return ops.stack([ops.reshape(gradient, shape) for gradient in gradients])

    def unstack(self, tensor, variables):
        """`[K, *shape]` -> a tensor of the shape of each variable."""
        return [
            ops.reshape(row, variable.shape)
            for row, variable in zip(ops.unstack(tensor), variables, strict=True)
        ]

    def whole_matrices(self, matrices_KJMM):
        """Matrices that were stored, so that each can be worked on."""
        return ops.convert_to_tensor(matrices_KJMM)

    def stored_matrices(self, matrices_KJMM):
        """Matrices as they are stored."""
        return matrices_KJMM
