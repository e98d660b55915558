"""Group normalization against its formula and against Keras's layer."""

# B batch, H height, W width, C channels

import keras
import numpy as np
import pytest

from keras_dalle.layers.group_norm import GroupNormalization

GROUPS, EPSILON = 4, 1e-6
RNG = np.random.default_rng(0)
X_BHWC = RNG.normal(3.0, np.linspace(0.1, 4.0, 12), (2, 5, 7, 12)).astype("float32")
WEIGHTS = [RNG.normal(size=12).astype("float32") for _ in range(2)]


def built(layer_class, dtype=None):
    layer = layer_class(GROUPS, epsilon=EPSILON, dtype=dtype)
    layer.build(X_BHWC.shape)
    layer.set_weights(WEIGHTS)
    return layer


def test_formula():
    x = X_BHWC.astype("float64").reshape(2, 5, 7, GROUPS, 3)
    mean = x.mean((1, 2, 4), keepdims=True)
    variance = ((x - mean) ** 2).mean((1, 2, 4), keepdims=True)
    gamma, beta = WEIGHTS
    normed = ((x - mean) / np.sqrt(variance + EPSILON)).reshape(X_BHWC.shape)
    outputs = built(GroupNormalization)(X_BHWC)
    np.testing.assert_allclose(outputs, normed * gamma + beta, atol=5e-6)


def test_a_constant_map_shows_epsilon():
    ones = np.full((1, 2, 2, 4), 0.0, "float32")
    ones[:, 0] = 2 * EPSILON**0.5  # variance 1e-6 beside epsilon 1e-6
    layer = GroupNormalization(4, epsilon=EPSILON)
    np.testing.assert_allclose(np.array(layer(ones))[0, 0], 0.5**0.5, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_float16"])
def test_as_keras(dtype):
    expected = built(keras.layers.GroupNormalization, dtype)(X_BHWC)
    outputs = built(GroupNormalization, dtype)(X_BHWC)
    assert outputs.dtype == expected.dtype
    atol = 2e-2 if dtype == "mixed_float16" else 1e-5
    np.testing.assert_allclose(outputs, expected, atol=atol)


def test_weights_have_the_paths_of_keras_layer():
    """What was saved with Keras's layer still loads."""
    paths = [w.path for w in built(GroupNormalization).weights]
    expected = [w.path for w in built(keras.layers.GroupNormalization).weights]
    assert [p.partition("/")[2] for p in paths] == [
        p.partition("/")[2] for p in expected
    ]
    assert GroupNormalization.__name__ == keras.layers.GroupNormalization.__name__
