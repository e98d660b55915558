"""Tensors of several variables as one, and back."""

# K variables of one shape, J matrices of each, M their side
# L parts of a mesh that share out the variables, N matrices of one part

import itertools

from keras import ops


class Stacking:
    """How Shampoo works on all variables of a shape at once, in one place.

    `keras_dalle.distribution` puts another one in its stead, for a mesh.

    Attributes:
        parts: L.
    """

    parts = 1

    def stack(self, tensors, variables, shape):
        """Tensors of the shapes of variables -> `[K, *shape]`."""
        del variables
        return ops.stack([ops.reshape(tensor, shape) for tensor in tensors])

    def unstack(self, tensor, variables):
        """`[K, *shape]` -> a tensor of the shape of each variable."""
        return [
            ops.reshape(row, variable.shape)
            for row, variable in zip(ops.unstack(tensor), variables, strict=True)
        ]

    def whole(self, stored):
        """A stack `[K, ...]` that was stored, so that each row can be worked on."""
        return ops.convert_to_tensor(stored)

    def stored(self, stack):
        """A stack `[K, ...]` as it is stored."""
        return stack

    def join(self, stacks_KJMM):
        """Matrices of several stacks -> all as `[L, N, M, M]`."""
        return ops.concatenate(
            [
                self.whole(ops.reshape(stack, (self.parts, -1, *stack.shape[2:])))
                for stack in stacks_KJMM
            ],
            axis=1,
        )

    def divide(self, joined_LNMM, stacks_KJMM):
        """What `join` made of such stacks -> the stacks."""
        counts = [s.shape[0] * s.shape[1] // self.parts for s in stacks_KJMM]
        cuts = list(itertools.accumulate(counts))[:-1]
        parts = ops.split(self.whole(joined_LNMM), cuts or 1, axis=1)
        return [
            ops.reshape(part, stack.shape)
            for part, stack in zip(parts, stacks_KJMM, strict=True)
        ]
