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
        """The variable's tensor -> its blocks."""
        blocks = [ops.reshape(tensor, self.shape)]
        for axis, sizes in enumerate(self.sizes):
            if len(sizes) > 1:
                cuts = list(itertools.accumulate(sizes))[:-1]
                blocks = [
                    part
                    for block in blocks
                    for part in ops.split(block, cuts, axis=axis)
                ]
        return blocks

    def merge(self, blocks, shape):
        """Blocks -> a tensor of the variable's own `shape`."""
        blocks = list(blocks)
        for axis, sizes in reversed(list(enumerate(self.sizes))):
            if len(sizes) > 1:
                blocks = [
                    ops.concatenate(blocks[i : i + len(sizes)], axis=axis)
                    for i in range(0, len(blocks), len(sizes))
                ]
        (tensor,) = blocks
        return ops.reshape(tensor, shape)


def gram_matrices(block) -> list:
    """`G_i Gᵀ_i` for each dimension i of a block, unfolded along it."""
    grams = []
    for axis, size in enumerate(block.shape):
        rows = ops.reshape(ops.moveaxis(block, axis, 0), (size, -1))
        grams.append(ops.matmul(rows, ops.transpose(rows)))
    return grams


def precondition(block, preconditioners):
    """Multiplies each dimension of a block by its matrix."""
    for preconditioner in preconditioners:
        # The first dimension is contracted and comes back as the last, so that after
        # all of them the order is the old one.
        block = ops.tensordot(block, preconditioner, axes=[[0], [0]])
    return block


def pad_with_identity(matrix, side):
    """`[[A, 0], [0, I]]` with so many rows."""
    size = matrix.shape[0]
    if size == side:
        return matrix
    rest = np.diag((np.arange(side) >= size).astype("float32"))
    padded = ops.pad(matrix, ((0, side - size), (0, side - size)))
    return padded + ops.cast(rest, matrix.dtype)


# === Stacks ===


@dataclass(frozen=True)
class Stack:
    """Matrices that are kept together, padded to one side.

    Attributes:
        group: index of the group of variables.
        exponent: p of their inverse p-th root.
        side: of the largest matrix of the whole group.
        count: number of matrices.
    """

    group: int
    exponent: int
    side: int
    count: int


@dataclass(frozen=True)
class Place:
    """Where a variable's matrices are.

    Attributes:
        stack: index of the stack.
        start: index of the first matrix in it.
        sizes: their sides without padding.
    """

    stack: int
    start: int
    sizes: tuple[int, ...]

    def of(self, stacks):
        """The variable's matrices, without padding."""
        matrices = stacks[self.stack]
        return [
            matrices[self.start + i, :size, :size] for i, size in enumerate(self.sizes)
        ]


def place_matrices(
    layouts: Sequence[BlockLayout | None], groups: Sequence[int]
) -> tuple[list[Place | None], list[Stack]]:
    """Gives each variable's matrices their place in a stack.

    Args:
        layouts: of each variable, `None` for one without matrices.
        groups: the group of each variable.

    Returns:
        The place of each variable's matrices, and the stacks.
    """
    sides: dict[int, int] = {}
    counts: dict[tuple[int, int], int] = {}
    for layout, group in zip(layouts, groups, strict=True):
        if layout is not None:
            sides[group] = max(sides.get(group, 0), *layout.matrix_sizes)
            counts.setdefault((group, layout.exponent), 0)
    order = list(counts)
    places: list[Place | None] = []
    for layout, group in zip(layouts, groups, strict=True):
        if layout is None:
            places.append(None)
            continue
        key = (group, layout.exponent)
        sizes = tuple(layout.matrix_sizes)
        places.append(Place(order.index(key), counts[key], sizes))
        counts[key] += len(sizes)
    return places, [Stack(*key, sides[key[0]], counts[key]) for key in order]
