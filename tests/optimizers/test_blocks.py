"""Blocks of gradients and the stacks of their matrices."""

import numpy as np
import pytest

from keras_dalle.optimizers.blocks import (
    BlockLayout,
    Stack,
    gram_matrices,
    make_stacks,
    merge_small_dims,
    pad_with_zeros,
    precondition,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("shape", "max_dim", "expected"),
    [
        ((1, 2, 512, 1, 2048, 1, 3, 4), 1024, (1024, 2048, 12)),
        ((12, 8), 4096, (96,)),
        ((300, 40), 4096, (300, 40)),
        ((1, 1), 8, (1,)),
        ((9,), 4, (9,)),
        ((), 8, ()),
    ],
)
def test_merged_dimensions(shape, max_dim, expected):
    assert merge_small_dims(shape, max_dim) == expected


def test_split_and_merge():
    layout = BlockLayout((5, 7), block_size=3)
    tensor_KRC = RNG.standard_normal((2, 5, 7)).astype("float32")
    blocks = layout.split(tensor_KRC)
    assert [tuple(block.shape[1:]) for block in blocks] == layout.block_shapes
    assert layout.block_shapes[:3] == [(3, 3), (3, 3), (3, 1)]
    assert layout.matrix_sizes[:6] == [3, 3, 3, 3, 3, 1]
    np.testing.assert_array_equal(layout.merge(blocks), tensor_KRC)


def test_gram_matrices():
    block = RNG.standard_normal((5, 2, 3, 4)).astype("float32")
    grams = gram_matrices(block)
    expected = np.einsum("kiaj,kibj->kab", block, block)
    np.testing.assert_allclose(grams[1], expected, atol=1e-5)


def test_precondition():
    block = RNG.standard_normal((5, 2, 3, 4)).astype("float32")
    a, b, c = (RNG.standard_normal((5, n, n)).astype("float32") for n in (2, 3, 4))
    expected = np.einsum("kxyz,kxa,kyb,kzc->kabc", block, a, b, c)
    np.testing.assert_allclose(precondition(block, [a, b, c]), expected, atol=1e-4)


def test_padding_is_the_identity():
    stack = Stack(BlockLayout((2, 4), 4), 4, (0, 1, 2))
    padded_KMM = pad_with_zeros(np.full((3, 2, 2), 5.0, "float32"), 4)
    matrices_KJMM = np.stack([padded_KMM, np.full((3, 4, 4), 6.0)], axis=1)
    # Whatever stands there: the statistics decay.
    matrices_KJMM[:, 0, 3, 3] = 0.5
    expected = np.array([[5, 5, 0, 0], [5, 5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    result_KJMM = stack.with_identity(matrices_KJMM)
    np.testing.assert_array_equal(result_KJMM[:, 0], [expected] * 3)
    np.testing.assert_array_equal(result_KJMM[:, 1], matrices_KJMM[:, 1])


def test_stacks():
    matrix, vector = BlockLayout((4, 6), 4), BlockLayout((9,), 16)
    stacks = make_stacks(
        [matrix, None, vector, matrix, matrix, vector], [0, 0, 0, 1, 0, 2]
    )
    # Of the vectors' groups both have a side of 9.
    assert stacks == [
        Stack(matrix, 9, (0, 4)),
        Stack(vector, 9, (2, 5)),
        Stack(matrix, 4, (3,)),
    ]
    assert stacks[0].shape == (2, 4, 6)
    assert stacks[0].matrices_shape == (2, 4, 9, 9)


def test_matrices_of_blocks():
    stack = Stack(BlockLayout((4, 6), 4), 9, (0, 1))
    matrices_KJMM = RNG.standard_normal((2, 4, 9, 9))
    blocks = stack.of_blocks(matrices_KJMM)
    shapes = [[matrix.shape for matrix in block] for block in blocks]
    assert shapes == [[(2, 4, 4), (2, 4, 4)], [(2, 4, 4), (2, 2, 2)]]
    np.testing.assert_array_equal(blocks[1][1], matrices_KJMM[:, 3, :2, :2])
