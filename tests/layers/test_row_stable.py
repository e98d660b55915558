"""A row's bits do not depend on how many rows there are, or where it stands."""

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.layers.row_stable import Dense, RowTiles, row_stable_softmax

ROWS = np.random.default_rng(0).standard_normal((40, 1, 96)).astype("float32")


def _by_tiles(layer, rows):
    tiles = RowTiles(tf.shape(rows)[0], 1)
    return tiles.join(layer(tiles.split(rows), row_stable=True)).numpy()


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8, 15, 16, 17, 33])
def test_tiles_are_row_stable(batch_size):
    dense = Dense(130)
    expected = _by_tiles(dense, tf.constant(ROWS))
    for start in (0, 5):
        part = slice(start, start + batch_size)
        actual = _by_tiles(dense, tf.constant(ROWS[part]))
        np.testing.assert_array_equal(actual, expected[part])


def test_tiles_give_the_plain_product():
    dense = Dense(130)
    expected = dense(ROWS).numpy()
    np.testing.assert_allclose(
        _by_tiles(dense, tf.constant(ROWS)), expected, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("batch_size", "length"), [(1, 1), (3, 5), (4, 4), (2, 17)])
def test_join_undoes_split(batch_size, length):
    x_BTD = np.arange(batch_size * length * 2.0).reshape(batch_size, length, 2)
    tiles = RowTiles(batch_size, length)
    x_GRD = tiles.split(tf.constant(x_BTD))
    assert x_GRD.shape[1] == 16
    np.testing.assert_array_equal(tiles.join(x_GRD), x_BTD)


def test_softmax():
    logits = ROWS * 20
    expected = tf.nn.softmax(logits)
    np.testing.assert_allclose(row_stable_softmax(logits), expected, rtol=1e-5)


def test_no_bias():
    dense = Dense(3)
    dense.build((None, 2))
    assert [weight.shape for weight in dense.weights] == [(2, 3)]
