"""Encoder and decoder layers: masks, dropout, configuration."""

import numpy as np
import pytest

from keras_dalle.layers.transformer import ImageDecoderLayer, TextEncoderLayer

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 4, 8)).astype("float32")
TEXT = RNG.standard_normal((2, 3, 8)).astype("float32")
TEXT_MASK = np.array([[1, 1, 0], [1, 1, 1]])
ARGUMENTS = {"num_heads": 2, "intermediate_dim": 12, "kernel_initializer": "he_normal"}


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
    layer = layer_class(**ARGUMENTS, dropout=0.1)
    again = layer_class.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
