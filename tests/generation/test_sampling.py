"""Sampling: a row's choice depends on its own parameters alone."""

import numpy as np
import tensorflow as tf

from keras_dalle.generation.sampling import guide, sample, warp

LOGITS = tf.constant(np.random.default_rng(0).normal(0, 2, (6, 100)).astype("float32"))
PARAMETERS = {
    "seed": tf.constant([5, 4, 3, 2, 1, 0], tf.int64),
    "temperature": tf.constant([1.0, 0.5, 2.0, 1.0, 0.9, 1.0]),
    "top_k": tf.constant([0, 50, 3, 1, 100, 1000]),
    "top_p": tf.constant([1.0, 0.9, 1.0, 1.0, 0.5, 1e-6]),
}


@tf.function(reduce_retracing=True)
def _sample_rows(rows, position):
    return sample(
        tf.gather(LOGITS, rows),
        position=position,
        **{name: tf.gather(x, rows) for name, x in PARAMETERS.items()},
    )


def _sample(rows, position=0):
    return _sample_rows(tf.constant(rows), tf.constant(position)).numpy()


def test_rows_are_independent():
    for position in range(20):
        together = _sample([0, 1, 2, 3, 4, 5], position)
        alone = [_sample([row], position)[0] for row in range(6)]
        assert together.tolist() == alone
        assert _sample([4, 1, 1], position).tolist() == together[[4, 1, 1]].tolist()


def test_top_k_1_and_tiny_top_p_are_greedy():
    best = np.argmax(LOGITS, axis=1)
    for position in range(20):
        tokens = _sample([3, 5], position)
        assert tokens.tolist() == best[[3, 5]].tolist()


def test_kept_candidates_differ_by_row():
    values, _ = warp(
        LOGITS, tf.ones(6), tf.constant([0, 1, 2, 17, 99, 500]), tf.ones(6)
    )
    kept = np.isfinite(values).sum(axis=1)
    assert kept.tolist() == [100, 1, 2, 17, 99, 100]


def test_equal_logits_keep_the_lower_ids():
    values, token_ids = warp(
        tf.zeros((1, 40)), tf.ones(1), tf.constant([3]), tf.ones(1)
    )
    assert token_ids.numpy()[np.isfinite(values)].tolist() == [0, 1, 2]


def test_guidance_1_is_off_and_0_is_the_negative_prompt():
    other = tf.reverse(LOGITS, [1])
    np.testing.assert_allclose(guide(LOGITS, other, tf.ones(6)), LOGITS, atol=1e-5)
    np.testing.assert_array_equal(guide(LOGITS, other, tf.zeros(6)), other)
