"""Encoder and decoder layers: masks, dropout, configuration."""

import numpy as np
import pytest

from keras_dalle.layers.transformer import ImageDecoderLayer, TextEncoderLayer
from keras_dalle.layers.variant import BranchGains

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 4, 8)).astype("float32")
TEXT = RNG.standard_normal((2, 3, 8)).astype("float32")
TEXT_MASK = np.array([[1, 1, 0], [1, 1, 1]])
ARGUMENTS = {"num_heads": 2, "intermediate_dim": 12, "init_std": 0.5}


def test_encoder_layer_ignores_padding():
    layer = TextEncoderLayer(**ARGUMENTS)
    mask = np.array([[1, 1, 1, 0], [1, 1, 0, 0]])
    other = np.where(mask[:, :, None] == 1, X, 7.0).astype("float32")
    real = mask == 1
    np.testing.assert_array_equal(
        layer(X, mask).numpy()[real], layer(other, mask).numpy()[real]
    )


def test_decoder_layer_is_causal():
    layer = ImageDecoderLayer(**ARGUMENTS)
    other = X.copy()
    other[:, 2:] += 1.0
    before = layer(X, TEXT, TEXT_MASK).numpy()
    after = layer(other, TEXT, TEXT_MASK).numpy()
    np.testing.assert_array_equal(before[:, :2], after[:, :2])
    assert np.abs(before[:, 2:] - after[:, 2:]).max() > 0.1


def test_decoder_layer_ignores_text_padding():
    layer = ImageDecoderLayer(**ARGUMENTS)
    other = np.where(TEXT_MASK[:, :, None] == 1, TEXT, 7.0).astype("float32")
    np.testing.assert_array_equal(layer(X, TEXT, TEXT_MASK), layer(X, other, TEXT_MASK))


def test_dropout_acts_in_training_only():
    layer = TextEncoderLayer(**ARGUMENTS, dropout=0.5)
    mask = np.ones((2, 4))
    plain = layer(X, mask).numpy()
    np.testing.assert_array_equal(layer(X, mask, training=False), plain)
    assert np.abs(layer(X, mask, training=True).numpy() - plain).max() > 0.01


@pytest.mark.parametrize("layer_class", [TextEncoderLayer, ImageDecoderLayer])
def test_config(layer_class):
    layer = layer_class(
        **ARGUMENTS,
        dropout=0.1,
        variant={"norm_placement": "subln", "head_scale": True},
        gains=BranchGains(2.0, 3.0, 4.0),
        norm_after="scaled",
    )
    again = layer_class.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_residuals_are_scaled():
    gains = BranchGains(residual=3.0)
    arguments = {"num_heads": 2, "intermediate_dim": 12, "init_std": 0.0}
    layer = TextEncoderLayer(**arguments, gains=gains)
    # Zero kernels make zero branches: what is left is the residual, twice.
    np.testing.assert_allclose(layer(X, np.ones((2, 4))), 9 * X, rtol=1e-6)


def test_initial_kernels_are_scaled():
    gains = BranchGains(1.0, 2.0, 3.0)
    layer = ImageDecoderLayer(4, 400, gains=gains, init_std=0.1)
    layer.build((None, None, 200))
    deviations = {
        "self_attention/query": 0.1,
        "self_attention/key": 0.1,
        "self_attention/value": 0.2,
        "self_attention/attention_output": 0.2,
        "cross_attention/query": 0.1,
        "cross_attention/value": 0.3,
        "feed_forward/gate": 0.2,
        "feed_forward/feed_forward_output": 0.2,
    }
    for weight in layer.weights:
        for name, expected in deviations.items():
            if weight.path.endswith(f"{name}/kernel"):
                np.testing.assert_allclose(np.std(weight), expected, rtol=0.02)
