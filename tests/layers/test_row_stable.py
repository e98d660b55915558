"""A row's bits do not depend on how many rows there are, or where it stands."""

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.layers.norms import make_norm
from keras_dalle.layers.row_stable import Dense, RowMatrix, row_stable_softmax

ROWS = np.random.default_rng(0).standard_normal((90, 1, 96)).astype("float32")


def _in_a_matrix(layer, rows):
    matrix = RowMatrix(tf.shape(rows)[0], 1)
    return matrix.split(layer(matrix.join(rows))).numpy()


@pytest.mark.parametrize("num_rows", [1, 2, 3, 8, 12, 13, 24, 33, 60, 85])
def test_a_matrix_is_row_stable(num_rows):
    for layer in (Dense(130), make_norm("scaled"), make_norm("scaled", "rmsnorm")):
        expected = _in_a_matrix(layer, tf.constant(ROWS))
        for start in (0, 5):
            part = slice(start, start + num_rows)
            actual = _in_a_matrix(layer, tf.constant(ROWS[part]))
            np.testing.assert_array_equal(actual, expected[part])


@pytest.mark.parametrize(
    ("num_rows", "length", "height"),
    [(1, 1, 16), (4, 4, 16), (3, 6, 24), (5, 5, 40), (2, 17, 40)],
)
def test_split_undoes_join(num_rows, length, height):
    x_RWD = np.arange(num_rows * length * 2.0).reshape(num_rows, length, 2)
    matrix = RowMatrix(num_rows, length)
    x_MD = matrix.join(tf.constant(x_RWD))
    assert x_MD.shape == (height, 2)
    np.testing.assert_array_equal(matrix.split(x_MD), x_RWD)
    queries = matrix.split_queries(x_MD).numpy()
    np.testing.assert_array_equal(queries[:, :length], x_RWD)
    assert (
        queries.shape[1] == max(length + length % 2, 6)
        and not queries[:, length:].any()
    )


def test_softmax():
    logits = ROWS * 20
    expected = tf.nn.softmax(logits)
    # oneDNN's softmax takes the smallest numbers, about 1e-38, for 0.
    np.testing.assert_allclose(
        row_stable_softmax(logits), expected, rtol=1e-5, atol=1e-37
    )


def test_no_bias():
    dense = Dense(3)
    dense.build((None, 2))
    assert [weight.shape for weight in dense.weights] == [(2, 3)]
