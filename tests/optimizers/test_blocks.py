"""Blocks of gradients and the places of their matrices."""

import numpy as np
import pytest

from keras_dalle.optimizers.blocks import (
    BlockLayout,
    Place,
    Stack,
    gram_matrices,
    merge_small_dims,
    pad_with_identity,
    place_matrices,
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
    tensor = RNG.standard_normal((5, 7)).astype("float32")
    blocks = layout.split(tensor)
    assert [tuple(block.shape) for block in blocks] == layout.block_shapes
    assert layout.block_shapes[:3] == [(3, 3), (3, 3), (3, 1)]
    assert layout.matrix_sizes[:6] == [3, 3, 3, 3, 3, 1]
    np.testing.assert_array_equal(layout.merge(blocks, (5, 7)), tensor)


def test_gram_matrices():
    block = RNG.standard_normal((2, 3, 4)).astype("float32")
    grams = gram_matrices(block)
    np.testing.assert_allclose(grams[1], np.einsum("iaj,ibj->ab", block, block), 1e-5)


def test_precondition():
    block = RNG.standard_normal((2, 3, 4)).astype("float32")
    a, b, c = (RNG.standard_normal((n, n)).astype("float32") for n in (2, 3, 4))
    expected = np.einsum("ijk,ia,jb,kc->abc", block, a, b, c)
    np.testing.assert_allclose(precondition(block, [a, b, c]), expected, atol=1e-4)


def test_padding_is_the_identity():
    padded = pad_with_identity(np.full((2, 2), 5.0, "float32"), 4)
    expected = np.array([[5, 5, 0, 0], [5, 5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    np.testing.assert_array_equal(padded, expected)


def test_places():
    matrix, vector, other = (
        BlockLayout((4, 6), 4),
        BlockLayout((9,), 16),
        BlockLayout((2, 2), 4),
    )
    places, stacks = place_matrices([matrix, None, vector, other], [0, 0, 0, 1])
    assert places == [
        Place(0, 0, (4, 4, 4, 2)),
        None,
        Place(1, 0, (9,)),
        Place(2, 0, (2, 2)),
    ]
    assert stacks == [Stack(0, 4, 9, 4), Stack(0, 2, 9, 1), Stack(1, 4, 2, 2)]
