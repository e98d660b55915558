"""`VQGANBackbone`: shapes, quantizer, patches, presets."""

import keras
import numpy as np
import pytest

from keras_dalle.models.vqgan.vector_quantizer import VectorQuantizer
from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone

TINY = {
    "image_size": 32,
    "base_channels": 32,
    "channel_multipliers": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (8,),
    "latent_channels": 32,
    "embedding_dim": 4,
    "codebook_size": 16,
}


@pytest.fixture
def images():
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("change", "grid_size"),
    [
        ({}, 16),
        ({"patch_size": 4}, 4),
        ({"channel_multipliers": (1, 1, 1, 2)}, 4),  # f8
        ({"channel_multipliers": (1, 1, 1, 1, 2)}, 2),  # f16
    ],
)
def test_shapes(images, change, grid_size):
    vqgan = VQGANBackbone(**{**TINY, **change})
    tokens = vqgan.encode_images(images)
    assert tokens.shape == (3, grid_size**2)
    assert keras.backend.standardize_dtype(tokens.dtype) == "int32"
    assert vqgan.decode_images(tokens).shape == images.shape
    assert vqgan.grid_size == grid_size


@pytest.mark.parametrize("quantizer", ["nearest", "gumbel"])
def test_call_is_decode_of_encode(images, quantizer):
    vqgan = VQGANBackbone(**TINY, patch_size=2, quantizer=quantizer)
    values = vqgan.pixels_to_values(images)
    outputs = vqgan(values)
    np.testing.assert_array_equal(outputs["indices"], vqgan.encode(values))
    decoded = vqgan.decode(outputs["indices"])
    np.testing.assert_allclose(outputs["reconstruction"], decoded, atol=2e-5)


def test_released_model_has_its_parameter_count():
    with keras.device("cpu"):
        config = VQGANBackbone(image_size=64, attention_resolutions=(4,))
    # The published f16-16384 model; its size does not depend on the image size.
    assert round(config.count_params() / 1e6, 2) == 76.07


@pytest.mark.parametrize("value_range", [(-1.0, 1.0), (0.0, 1.0)])
def test_pixels_survive_the_way_to_values_and_back(images, value_range):
    vqgan = VQGANBackbone(**TINY, value_range=value_range)
    values = vqgan.pixels_to_values(images)
    assert value_range[0] <= np.min(values) and np.max(values) <= value_range[1]
    np.testing.assert_array_equal(vqgan.values_to_pixels(values), images)


def test_nearest_is_the_nearest():
    quantizer = VectorQuantizer(codebook_size=16, embedding_dim=4)
    quantizer.build((None, 2, 2, 4))
    generator = np.random.default_rng(0)
    codebook_CE = generator.normal(size=(16, 4)).astype("float32")
    quantizer.codebook.assign(codebook_CE)
    z_BHWE = generator.normal(size=(3, 2, 2, 4)).astype("float32")
    distances = np.square(z_BHWE[..., None, :] - codebook_CE).sum(-1)
    np.testing.assert_array_equal(quantizer.to_indices(z_BHWE), distances.argmin(-1))


def test_gradient_passes_straight_through_and_losses_are_weighted():
    import tensorflow as tf

    quantizer = VectorQuantizer(16, 4, commitment_weight=0.5)
    z_BHWE = tf.constant(np.random.default_rng(0).normal(size=(2, 2, 2, 4)), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(z_BHWE)
        quantized, indices, loss_B = quantizer(z_BHWE)
        total = tf.reduce_sum(quantized * 3.0)
        loss = tf.reduce_sum(loss_B)
    np.testing.assert_allclose(tape.gradient(total, z_BHWE), 3.0)
    difference = z_BHWE - quantizer.lookup(indices)
    np.testing.assert_allclose(
        loss_B, 1.5 * np.mean(np.square(difference), axis=(1, 2, 3)), rtol=1e-5
    )
    np.testing.assert_allclose(
        tape.gradient(loss, z_BHWE), 0.5 * 2 * difference / 16, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("quantizer", ["nearest", "gumbel"])
def test_preset_round_trip(images, tmp_path, quantizer):
    vqgan = VQGANBackbone(**TINY, patch_size=2, quantizer=quantizer, kl_weight=0.1)
    vqgan.save_to_preset(str(tmp_path))
    loaded = VQGANBackbone.from_preset(str(tmp_path))
    assert loaded.get_config() == vqgan.get_config()
    tokens = vqgan.encode_images(images)
    np.testing.assert_array_equal(loaded.encode_images(images), tokens)
    np.testing.assert_array_equal(
        loaded.decode_images(tokens), vqgan.decode_images(tokens)
    )


def test_mixed_precision(images):
    vqgan = VQGANBackbone(**TINY, dtype="mixed_bfloat16")
    tokens = vqgan.encode_images(images)
    assert np.asarray(vqgan.decode_images(tokens)).dtype == np.uint8
    assert vqgan.quantizer.codebook.dtype == "float32"


def test_double_precision(images):
    single, double = (
        VQGANBackbone(**TINY, patch_size=2, dtype=dtype)
        for dtype in ("float32", "float64")
    )
    double.set_weights(single.get_weights())
    outputs = double(double.pixels_to_values(images))
    assert outputs["reconstruction"].dtype == "float64"
    expected = single(single.pixels_to_values(images))["reconstruction"]
    error = np.max(np.abs(outputs["reconstruction"].numpy() - expected.numpy()))
    assert 0 < error < 1e-4


def test_decoder_alone(images):
    whole = VQGANBackbone(**TINY)
    decoder = VQGANBackbone(**TINY, quantizer=None)
    weights = {weight.path: weight for weight in whole.weights}
    for weight in decoder.weights:
        weight.assign(weights[weight.path])
    tokens = whole.encode_images(images)
    np.testing.assert_array_equal(
        decoder(tokens)["reconstruction"], whole.decode(tokens)
    )
    with pytest.raises(ValueError, match="needs a VQGAN with an encoder"):
        decoder.encode_images(images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 33}, r"`image_size` \(=33\) must be divisible"),
        ({"base_channels": 48}, r"`base_channels` \(=48\) must be divisible by 32"),
        ({"quantizer": "ema"}, r"`quantizer` must be one of .*Received: 'ema'"),
    ],
)
def test_errors(change, message):
    with pytest.raises(ValueError, match=message):
        VQGANBackbone(**{**TINY, **change})
