"""What `VQGANTrainer` trains, and what it refuses."""

import numpy as np
import pytest

from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone
from keras_dalle.models.vqgan.vqgan_trainer import RestartDeadCodes, VQGANTrainer

TINY = {
    "image_size": 8,
    "base_channels": 32,
    "channel_multipliers": (1,),
    "num_res_blocks": 1,
    "attention_resolutions": (),
    "latent_channels": 4,
    "embedding_dim": 4,
    "codebook_size": 8,
    "patch_size": 4,
}
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3)).astype(np.uint8)


def _trainer(quantizer):
    trainer = VQGANTrainer(VQGANBackbone(**TINY, quantizer=quantizer))
    trainer.compile("adam", run_eagerly=True)
    return trainer


@pytest.mark.parametrize("quantizer", ["nearest", "gumbel"])
def test_each_quantizer_is_trained(quantizer):
    trainer = _trainer(quantizer)
    before = trainer.backbone.quantizer.codebook.numpy()
    history = trainer.fit(IMAGES, batch_size=4, verbose=0).history
    assert np.all(np.isfinite(history["loss"]))
    assert np.any(trainer.backbone.quantizer.codebook.numpy() != before)


def test_decoder_alone_is_refused():
    with pytest.raises(ValueError, match="`backbone` must have an encoder"):
        _trainer(quantizer=None)


def test_codes_of_a_gumbel_quantizer_are_not_restarted():
    restart = RestartDeadCodes(IMAGES, until_epoch=1)
    with pytest.raises(ValueError, match="must be 'nearest'. Received: 'gumbel'"):
        _trainer("gumbel").fit(IMAGES, callbacks=[restart], verbose=0)
