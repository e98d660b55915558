"""Attention against plain NumPy, its mask and its cache."""

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.layers.attention import Attention, write_everywhere

RNG = np.random.default_rng(0)


def _random(*shape):
    return RNG.standard_normal(shape).astype("float32")


def _reference(attention, x_TD, memory_SD, mask_TS):
    """One head at a time, in float64."""
    kernel = {
        name: np.asarray(getattr(attention, name).kernel, "float64")
        for name in ("query", "key", "value", "attention_output")
    }
    q, k, v = (
        x_TD @ kernel["query"],
        memory_SD @ kernel["key"],
        memory_SD @ kernel["value"],
    )
    heads = []
    width = attention.head_dim
    for n in range(attention.num_heads):
        part = slice(n * width, (n + 1) * width)
        logits = q[:, part] @ k[:, part].T / np.sqrt(width)
        weights = np.exp(logits) * mask_TS
        heads.append(weights / weights.sum(1, keepdims=True) @ v[:, part])
    return np.concatenate(heads, axis=1) @ kernel["attention_output"]


@pytest.mark.parametrize("row_stable", [False, True])
def test_values(row_stable):
    attention = Attention(num_heads=3)
    x, memory = _random(2, 4, 12), _random(2, 5, 12)
    mask = RNG.random((2, 4, 5)) < 0.7
    mask[:, :, 0] = True
    outputs = attention(x, memory, mask[:, None], row_stable=row_stable)
    for row in range(2):
        expected = _reference(attention, x[row], memory[row], mask[row])
        np.testing.assert_allclose(outputs[row], expected, atol=1e-5)


def test_masked_keys_have_no_effect():
    attention = Attention(num_heads=2)
    x, memory = _random(1, 3, 8), _random(1, 4, 8)
    mask = np.array([True, True, False, False])
    other = memory.copy()
    other[:, 2:] = 1e3
    np.testing.assert_array_equal(attention(x, memory, mask), attention(x, other, mask))


def test_row_without_keys_is_finite():
    x = _random(1, 3, 8)
    outputs = Attention(num_heads=2)(x, x, np.zeros(3, bool))
    assert np.isfinite(outputs).all()


def test_kernels_start_apart():
    attention = Attention(num_heads=2, kernel_initializer="random_normal")
    attention.build((None, None, 8))
    kernels = [weight.numpy() for weight in attention.weights]
    assert len(kernels) == 4
    assert len({kernel.tobytes() for kernel in kernels}) == 4


def test_indivisible_width():
    with pytest.raises(ValueError, match=r"\(=10\) must be divisible .* \(=4\)"):
        Attention(num_heads=4).build((None, None, 10))


def test_config():
    attention = Attention(num_heads=2, kernel_initializer="zeros")
    again = Attention.from_config(attention.get_config())
    assert again.get_config() == attention.get_config()


def test_write_everywhere():
    cache = -tf.ones((2, 3, 5, 4))
    new = np.random.default_rng(0).random((2, 2, 3, 4)).astype("float32")
    positions = np.array([[2, 3], [4, 0]])
    written = write_everywhere(cache, tf.constant(new), positions).numpy()
    expected = cache.numpy().copy()
    for row in range(2):
        for place, entry in zip(positions[row], new[row], strict=True):
            expected[row, :, place] = entry
    np.testing.assert_array_equal(written, expected)
