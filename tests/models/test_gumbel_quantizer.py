"""`GumbelQuantizer`: inference, training, and the relaxed draw."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.models.vqgan.gumbel_quantizer import GumbelQuantizer, gumbel_softmax

CODES, WIDTH = 6, 4


@pytest.fixture
def z_BHWE():
    generator = np.random.default_rng(0)
    return tf.constant(generator.normal(size=(2, 3, 3, WIDTH)), tf.float32)


def _quantizer(**changes):
    keras.utils.set_random_seed(0)
    arguments = {"codebook_size": CODES, "embedding_dim": 5, "seed": 1, **changes}
    quantizer = GumbelQuantizer(**arguments)
    quantizer.build((None, 3, 3, WIDTH))
    return quantizer


def test_inference_takes_the_likeliest_code(z_BHWE):
    quantizer = _quantizer()
    quantized, indices, _ = quantizer(z_BHWE)
    logits = z_BHWE @ quantizer.projection.kernel[0, 0] + quantizer.projection.bias
    np.testing.assert_array_equal(indices, np.argmax(logits, axis=-1))
    np.testing.assert_array_equal(indices, quantizer.to_indices(z_BHWE))
    np.testing.assert_array_equal(quantized, np.asarray(quantizer.codebook)[indices])


def test_training_draws_codes(z_BHWE):
    quantizer = _quantizer()
    draws = [quantizer(z_BHWE, training=True) for _ in range(2)]
    assert np.any(np.asarray(draws[0][1]) != draws[1][1])
    for quantized, indices, _ in draws:
        codes = np.asarray(quantizer.codebook)[indices]
        np.testing.assert_allclose(quantized, codes, atol=1e-6)


def test_training_without_straight_through_mixes_codes(z_BHWE):
    quantizer = _quantizer(straight_through=False)
    quantized, indices, _ = quantizer(z_BHWE, training=True, temperature=5.0)
    codes = np.asarray(quantizer.codebook)[indices]
    assert np.min(np.abs(quantized - codes)) > 1e-4
    # At a low temperature the mixture is one code.
    quantized, indices, _ = quantizer(z_BHWE, training=True, temperature=1e-5)
    codes = np.asarray(quantizer.codebook)[indices]
    np.testing.assert_allclose(quantized, codes, atol=1e-4)


@pytest.mark.parametrize("straight_through", [True, False])
def test_gradient_reaches_all_weights(z_BHWE, straight_through):
    quantizer = _quantizer(straight_through=straight_through)
    with tf.GradientTape() as tape:
        tape.watch(z_BHWE)
        quantized, _, _ = quantizer(z_BHWE, training=True)
        total = tf.reduce_sum(tf.square(quantized))
    sources = [z_BHWE, *(weight.value for weight in quantizer.trainable_weights)]
    for gradient in tape.gradient(total, sources):
        assert np.any(tf.convert_to_tensor(gradient) != 0)


def test_draws_follow_the_softmax():
    logits = tf.math.log([0.5, 0.3, 0.2])
    uniform = np.random.default_rng(0).uniform(size=(40_000, 3)).astype("float32")
    weights = gumbel_softmax(logits, -np.log(-np.log(uniform)), 1.0, hard=True)
    np.testing.assert_allclose(np.mean(weights, axis=0), [0.5, 0.3, 0.2], atol=0.01)


def test_divergence():
    quantizer = _quantizer()
    logits = np.zeros((2, 1, 2, CODES), "float32")
    logits[1, :, :, 0] = 100.0
    # The uniform distribution has none, a certain one log(C).
    np.testing.assert_allclose(
        quantizer.divergence(logits), [0.0, np.log(CODES)], atol=1e-5
    )
    z_BHWE = np.zeros((1, 3, 3, WIDTH), "float32")
    _, _, loss_B = _quantizer(kl_weight=0.5)(z_BHWE)
    assert loss_B.shape == (1,)


def test_half_precision(z_BHWE):
    quantizer = GumbelQuantizer(CODES, 5, dtype="mixed_bfloat16")
    quantized, _, _ = quantizer(z_BHWE, training=True)
    assert quantized.dtype == "bfloat16"
    assert quantizer.logits(z_BHWE).dtype == "float32"


def test_config():
    quantizer = _quantizer(kl_weight=0.1, temperature=0.5, straight_through=False)
    again = GumbelQuantizer.from_config(quantizer.get_config())
    assert again.get_config() == quantizer.get_config()
