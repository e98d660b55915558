"""Small VQGANs with weights that are all different from one another."""

import numpy as np

from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone

TINY = {
    "image_size": 8,
    "base_channels": 32,
    "channel_multipliers": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (4,),
    "latent_channels": 6,
    "embedding_dim": 5,
    "codebook_size": 7,
}


def tiny_vqgan(**changes) -> VQGANBackbone:
    """Draws 8×8 pixels from 16 tokens."""
    vqgan = VQGANBackbone(**{**TINY, **changes})
    generator = np.random.default_rng(0)
    for variable in vqgan.weights:
        variable.assign(generator.normal(size=variable.shape, scale=0.2))
    return vqgan


def assert_same_weights(ours, theirs):
    """Bit for bit, by path."""
    expected = {variable.path: np.asarray(variable) for variable in theirs.weights}
    for variable in ours.weights:
        np.testing.assert_array_equal(variable, expected.pop(variable.path))
    assert not expected
