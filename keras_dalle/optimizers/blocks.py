"""How Shampoo cuts a gradient into blocks, and which matrices belong to them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops


def merge_small_dims(shape: tuple[int, ...], max_dim: int) -> tuple[int, ...]:
    """Multiplies neighbouring dimensions while the product stays within `max_dim`.

    The "best-effort shape interpretation" of https://arxiv.org/abs/2002.09018: a
    kernel `[3, 3, 64, 128]` has few large statistics in place of many small ones.

    Args:
        shape: of a variable.
        max_dim: largest product.

    Returns:
        The merged shape, without dimensions of 1; `(1,)` for a single number.
    """
    if all(size == 1 for size in shape):
        return (1,) if shape else ()
    merged = []
    product = 1
    for size in shape:
        if product * size <= max_dim:
            product *= size
            continue
        if product > 1:
            merged.append(product)
        product = size
    if product > 1:
        merged.append(product)
    return tuple(merged)


@dataclass(frozen=True)
class BlockLayout:
    """The blocks of one variable, in row-major order.

    Attributes:
        shape: of the variable, after small dimensions were merged.
        block_size: largest size of a block along each dimension.
    """

    shape: tuple[int, ...]
    block_size: int

    @property
    def sizes(self) -> list[list[int]]:
        """The sizes of the blocks along each dimension."""
        return [
            [min(self.block_size, size - i) for i in range(0, size, self.block_size)]
            for size in self.shape
        ]

    @property
    def block_shapes(self) -> list[tuple[int, ...]]:
        """The shape of each block."""
        return list(itertools.product(*self.sizes))

    @property
    def matrix_sizes(self) -> list[int]:
        """The side of each statistics matrix: one a dimension of each block."""
        return [size for shape in self.block_shapes for size in shape]

    @property
    def exponent(self) -> int:
        """p of the inverse p-th root: twice the number of matrices of a block."""
        return 2 * len(self.shape)

    def split(self, tensor):
        """`[K, *shape]` -> the blocks `[K, ...]` of K variables."""
        blocks = [tensor]
        for axis, sizes in enumerate(self.sizes):
            if len(sizes) > 1:
                cuts = list(itertools.accumulate(sizes))[:-1]
                blocks = [
                    part
                    for block in blocks
                    for part in ops.split(block, cuts, axis=axis + 1)
                ]
        return blocks

    def merge(self, blocks):
        """The blocks `[K, ...]` -> `[K, *shape]`."""
        blocks = list(blocks)
        for axis, sizes in reversed(list(enumerate(self.sizes))):
            if len(sizes) > 1:
                blocks = [
                    ops.concatenate(blocks[i : i + len(sizes)], axis=axis + 1)
                    for i in range(0, len(blocks), len(sizes))
                ]
        (tensor,) = blocks
        return tensor


def gram_matrices(block) -> list:
    """`G_i Gᵀ_i` `[K, size, size]` for each dimension i of K blocks `[K, ...]`."""
    grams = []
    for axis, size in enumerate(block.shape[1:], start=1):
        rows = ops.moveaxis(block, axis, 1)
        rows = ops.reshape(rows, (block.shape[0], size, -1))
        grams.append(ops.matmul(rows, ops.swapaxes(rows, 1, 2)))
    return grams


def precondition(block, preconditioners):
    """Multiplies each dimension of K blocks `[K, ...]` by its `[K, size, size]`."""
    for preconditioner in preconditioners:
        # The first dimension is contracted and comes back as the last, so that after
        # all of them the order is the old one.
        count, size, *rest = block.shape
        rows = ops.swapaxes(ops.reshape(block, (count, size, -1)), 1, 2)
        block = ops.matmul(rows, preconditioner)
        block = ops.reshape(block, (count, *rest, size))
    return block


def pad_with_zeros(matrices, side):
    """`[[A, 0], [0, 0]]` with so many rows, for each A of `[..., size, size]`."""
    missing = side - matrices.shape[-1]
    if not missing:
        return matrices
    leading = [(0, 0)] * (len(matrices.shape) - 2)
    return ops.pad(matrices, (*leading, (0, missing), (0, missing)))


# === Stacks ===


@dataclass(frozen=True)
class Stack:
    """Variables of one shape; their matrices are kept together, padded to one side.

    Attributes:
        layout: of each of the variables.
        side: of the largest matrix of the whole group.
        members: indices of the variables.
    """

    layout: BlockLayout
    side: int
    members: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """`[K, ...]`: of the variables as one."""
        return len(self.members), *self.layout.shape

    @property
    def matrices_shape(self) -> tuple[int, int, int, int]:
        """`[K, J, M, M]`: K variables, J matrices each, of the padded side M."""
        count = len(self.layout.matrix_sizes)
        return len(self.members), count, self.side, self.side

    def of_blocks(self, matrices_KJMM) -> list[list]:
        """For each block, its matrices `[K, size, size]`."""
        sizes = self.layout.matrix_sizes
        pairs = zip(ops.unstack(matrices_KJMM, axis=1), sizes, strict=True)
        matrices = (
            matrix if size == self.side else matrix[:, :size, :size]
            for matrix, size in pairs
        )
        return [
            list(itertools.islice(matrices, len(shape)))
            for shape in self.layout.block_shapes
        ]

    def with_identity(self, matrices_KJMM):
        """`[[A, 0], [0, I]]` of each matrix whose size is below the side."""
        sizes_J = np.array(self.layout.matrix_sizes)
        if (sizes_J == self.side).all():
            return matrices_KJMM
        is_inside_JM = np.arange(self.side) < sizes_J[:, None]
        is_inside_JMM = is_inside_JM[:, :, None] & is_inside_JM[:, None, :]
        identity_JMM = ~is_inside_JM[:, :, None] * np.eye(self.side)
        dtype = matrices_KJMM.dtype
        return matrices_KJMM * ops.cast(is_inside_JMM, dtype) + ops.cast(
            identity_JMM, dtype
        )


def make_stacks(
    layouts: Sequence[BlockLayout | None], groups: Sequence[int]
) -> list[Stack]:
    """Gathers variables of one layout whose groups have matrices of one side.

    Args:
        layouts: of each variable, `None` for one without matrices.
        groups: the group of each variable.
    """
    sides: dict[int, int] = {}
    for layout, group in zip(layouts, groups, strict=True):
        if layout is not None:
            sides[group] = max(sides.get(group, 0), *layout.matrix_sizes)
    members: dict[tuple[int, BlockLayout], list[int]] = {}
    for i, (layout, group) in enumerate(zip(layouts, groups, strict=True)):
        if layout is not None:
            members.setdefault((sides[group], layout), []).append(i)
    return [
        Stack(layout, side, tuple(indices))
        for (side, layout), indices in members.items()
    ]
