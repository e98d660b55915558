"""Activations at exact points."""

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.layers.activations import ACTIVATIONS

X = np.array([-2.0, -0.5, 0.0, 0.5, 2.0], "float32")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gelu", [-0.0455003, -0.1542687, 0.0, 0.3457312, 1.9544997]),
        ("gelu_new", [-0.0454023, -0.1542860, 0.0, 0.3457140, 1.9545977]),
        ("quick_gelu", [-0.0643414, -0.1496116, 0.0, 0.3503884, 1.9356586]),
        ("relu", [0.0, 0.0, 0.0, 0.5, 2.0]),
        ("silu", [-0.2384058, -0.1887703, 0.0, 0.3112297, 1.7615942]),
        ("swish", [-0.2384058, -0.1887703, 0.0, 0.3112297, 1.7615942]),
        ("smelu", [0.25, 0.0625, 0.25, 0.5625, 2.0]),
    ],
)
def test_values(name, expected):
    np.testing.assert_allclose(ACTIVATIONS[name](X), expected, atol=1e-6)


def test_gradient_of_smelu_is_the_original_one():
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = ACTIVATIONS["smelu"](x)
    np.testing.assert_array_equal(tape.gradient(y, x), np.ones(5))
