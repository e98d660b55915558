"""The original's way to end rows."""

import numpy as np
import tensorflow as tf

from keras_dalle.generation.end_token import EndToken


def test_tokens_behind_the_first_end_are_padding():
    tokens = tf.constant([[1, 9, 2, 9], [9, 9, 9, 9], [1, 2, 3, 9], [4, 5, 6, 7]])
    expected = [[1, 9, 0, 0], [9, 0, 0, 0], [1, 2, 3, 9], [4, 5, 6, 7]]
    np.testing.assert_array_equal(EndToken(9, 0).pad(tokens), expected)


def test_the_end_is_not_drawn_early():
    end_token = EndToken(2, 0, min_length=3)
    # Two tokens and the start token make three.
    ours = end_token.forbid(tf.ones((1, 3, 4)), tf.constant([[0, 2, 3]])).numpy()
    assert np.isneginf(ours[0, :, 2]).tolist() == [True, True, False]
    assert (np.delete(ours, 2, axis=2) == 1).all()


def test_no_minimum_length_forbids_nothing():
    logits = tf.ones((1, 1, 3))
    ours = EndToken(1, 1).forbid(logits, tf.constant([[0]]))
    np.testing.assert_array_equal(ours, logits)
