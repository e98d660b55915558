"""`PatchDiscriminator`: sizes, configuration, training."""

import keras
import numpy as np
import pytest

from keras_dalle.models.vqgan.discriminator import PatchDiscriminator


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")


def test_published_size():
    # The 70×70 PatchGAN; PyTorch counts the same parameters.
    discriminator = PatchDiscriminator()
    trainable = sum(np.prod(x.shape) for x in discriminator.trainable_weights)
    assert trainable == 2_765_633
    assert discriminator.compute_output_shape((1, 256, 256, 3)) == (1, 30, 30, 1)


@pytest.mark.parametrize("norm", ["batch", "actnorm"])
def test_training_lowers_the_loss(images, norm):
    keras.utils.set_random_seed(0)
    discriminator = PatchDiscriminator(filters=8, num_layers=2, norm=norm)
    discriminator.compile(keras.optimizers.Adam(1e-2), loss="mse", jit_compile=False)
    targets = np.sign(images[:, :1, :1]).mean(-1, keepdims=True)
    targets = np.broadcast_to(targets, (4, 6, 6, 1))
    history = discriminator.fit(images, targets, epochs=8, verbose=0).history["loss"]
    assert history[-1] < 0.7 * history[0]


@pytest.mark.parametrize("norm", ["batch", "actnorm"])
def test_saving(images, norm, tmp_path):
    discriminator = PatchDiscriminator(filters=8, num_layers=2, norm=norm)
    discriminator(images, training=True)
    discriminator.save(tmp_path / "discriminator.keras")
    again = keras.saving.load_model(tmp_path / "discriminator.keras")
    np.testing.assert_array_equal(again(images), discriminator(images))


def test_half_precision(images):
    discriminator = PatchDiscriminator(filters=8, num_layers=1, dtype="mixed_bfloat16")
    logits = discriminator(images, training=True)
    assert logits.dtype == "bfloat16"
    again = PatchDiscriminator.from_config(discriminator.get_config())
    assert again(images).dtype == "bfloat16"


def test_unknown_norm():
    with pytest.raises(ValueError, match="`norm` must be one of .*Received: 'layer'"):
        PatchDiscriminator(norm="layer")
