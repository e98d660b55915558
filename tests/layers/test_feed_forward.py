"""The feed-forward blocks against plain NumPy."""

import math

import numpy as np
import pytest

from keras_dalle.layers.feed_forward import FEED_FORWARD_BLOCKS, GatedFeedForward
from keras_dalle.layers.variant import FEED_FORWARDS

X = np.random.default_rng(0).standard_normal((2, 3, 8)).astype("float32")


def _normed(x):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-5)


def test_values():
    layer = GatedFeedForward(12, kernel_initializer="random_normal")
    outputs = layer(X)
    gate, value, output = (
        np.asarray(part.kernel, "float64")
        for part in (layer.gate, layer.value, layer.feed_forward_output)
    )
    x = _normed(X.astype("float64"))
    exact_gelu = np.vectorize(lambda t: t * 0.5 * (1 + math.erf(t / math.sqrt(2))))
    expected = _normed(exact_gelu(x @ gate) * (x @ value)) @ output
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    np.testing.assert_allclose(layer(X, row_stable=True), expected, atol=1e-5)


def test_weights():
    layer = GatedFeedForward(12)
    layer.build((None, None, 8))
    shapes = {
        weight.path.split("/", 1)[1]: tuple(weight.shape) for weight in layer.weights
    }
    assert shapes == {
        "input_norm/beta": (8,),
        "inside_norm/beta": (12,),
        "gate/kernel": (8, 12),
        "value/kernel": (8, 12),
        "feed_forward_output/kernel": (12, 8),
    }


def test_plain_block_with_biases():
    layer = FEED_FORWARD_BLOCKS["ffn"](
        12, {"activation": "relu", "use_bias": True, "norm_placement": "postln"}
    )
    layer.build((None, None, 8))
    for weight in layer.weights:
        weight.assign(np.random.default_rng(1).standard_normal(weight.shape))
    inner, outer = layer.intermediate, layer.feed_forward_output
    hidden = np.maximum(X @ inner.kernel.numpy() + inner.bias.numpy(), 0)
    expected = hidden @ outer.kernel.numpy() + outer.bias.numpy()
    np.testing.assert_allclose(layer(X), expected, atol=1e-5)
    np.testing.assert_allclose(layer(X, row_stable=True), expected, atol=1e-5)


def test_dropout_inside_acts_in_training_only():
    layer = GatedFeedForward(12, dropout=0.5, kernel_initializer="he_normal")
    plain = layer(X).numpy()
    np.testing.assert_array_equal(layer(X, training=False), plain)
    assert np.abs(layer(X, training=True).numpy() - plain).max() > 0.01


def test_the_variants_are_the_blocks():
    assert set(FEED_FORWARDS) == set(FEED_FORWARD_BLOCKS)


@pytest.mark.parametrize("kind", FEED_FORWARD_BLOCKS)
def test_config(kind):
    block = FEED_FORWARD_BLOCKS[kind]
    layer = block(12, {"norm": "rmsnorm"}, dropout=0.1)
    again = block.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
