"""The gated feed-forward block against plain NumPy."""

import math

import numpy as np

from keras_dalle.layers.feed_forward import GatedFeedForward

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


def test_config():
    layer = GatedFeedForward(12)
    again = GatedFeedForward.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
