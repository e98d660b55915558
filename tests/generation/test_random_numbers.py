"""Threefry against its published vectors; Gumbel noise against its distribution."""

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.generation.random_numbers import gumbel, threefry2x32

# kat_vectors of Random123, "threefry2x32 20": counter, key, result.
KNOWN_ANSWERS = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


def _uint32(pair):
    return tuple(tf.constant([word], tf.uint32) for word in pair)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_known_answers(counter, key, expected, jit_compile):
    function = tf.function(threefry2x32, jit_compile=jit_compile)
    result = function(_uint32(key), _uint32(counter))
    assert tuple(int(word[0]) for word in result) == expected


SEEDS = tf.constant([0, 1, -1, 2**40 + 3, -(2**63), 2**63 - 1], tf.int64)


def test_gumbel_does_not_depend_on_neighbours():
    everything = gumbel(SEEDS, tf.constant(5), tf.range(200)).numpy()
    token_ids = tf.constant([[7, 3], [199, 0], [1, 1], [50, 51], [9, 8], [0, 199]])
    some = gumbel(SEEDS, tf.constant(5), token_ids).numpy()
    expected = np.take_along_axis(everything, token_ids.numpy(), axis=1)
    np.testing.assert_allclose(some, expected, rtol=1e-5, atol=1e-6)
    alone = gumbel(SEEDS[3:4], tf.constant(5), tf.range(200)).numpy()
    np.testing.assert_array_equal(alone[0], everything[3])


def test_gumbel_with_and_without_xla():
    arguments = (SEEDS, tf.constant(5), tf.range(1000))
    plain = tf.function(gumbel)(*arguments)
    compiled = tf.function(gumbel, jit_compile=True)(*arguments)
    np.testing.assert_allclose(plain, compiled, rtol=1e-5, atol=1e-6)


def test_all_bits_of_seed_and_position_matter():
    draws = gumbel(SEEDS, tf.constant(0), tf.range(4)).numpy()
    assert len(np.unique(draws)) == draws.size
    positions = [gumbel(SEEDS, tf.constant(p), tf.range(4)).numpy() for p in range(9)]
    assert len(np.unique(positions)) == 9 * draws.size


def test_position_of_each_row():
    together = gumbel(SEEDS, tf.range(6), tf.range(4)).numpy()
    alone = gumbel(SEEDS, tf.constant(2), tf.range(4)).numpy()
    np.testing.assert_array_equal(together[2], alone[2])


def test_gumbel_distribution():
    draws = gumbel(tf.range(50, dtype=tf.int64), tf.constant(3), tf.range(4000)).numpy()
    assert np.isfinite(draws).all()
    count = draws.size
    variance = np.pi**2 / 6
    assert abs(draws.mean() - np.euler_gamma) < 5 * np.sqrt(variance / count)
    # Quantiles: the largest distance of the distribution functions (Kolmogorov).
    distribution = np.exp(-np.exp(-np.sort(draws.ravel()).astype("float64")))
    distance = np.abs(distribution - (np.arange(count) + 0.5) / count).max()
    assert distance < 2.0 / np.sqrt(count)
