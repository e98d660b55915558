"""The discriminator's norms against their definitions; goldens are elsewhere."""

import numpy as np
import torch

from keras_dalle.layers.patch_norms import ActNorm, TorchBatchNorm


def _features(seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(1.0, 2.0, (2, 3, 2, 4)).astype("float32")


def test_batch_norm_is_pytorchs():
    ours, theirs = TorchBatchNorm(), torch.nn.BatchNorm2d(4)
    ours.build((None, 3, 2, 4))
    for seed in range(3):
        x = _features(seed)
        expected = theirs(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        np.testing.assert_allclose(
            ours(x, training=True), expected.detach(), atol=1e-6, rtol=1e-5
        )
    np.testing.assert_allclose(ours.moving_mean, theirs.running_mean, rtol=1e-5)
    np.testing.assert_allclose(ours.moving_variance, theirs.running_var, rtol=1e-5)
    assert int(ours.batches) == int(theirs.num_batches_tracked) == 3
    theirs.eval()
    expected = theirs(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    np.testing.assert_allclose(ours(x), expected.detach(), atol=1e-6, rtol=1e-5)


def test_act_norm_is_set_by_the_first_training_batch():
    norm, x = ActNorm(), _features()
    np.testing.assert_array_equal(norm(x), x)
    y = np.asarray(norm(x, training=True))
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0.0, atol=1e-6)
    np.testing.assert_allclose(y.std(axis=(0, 1, 2), ddof=1), 1.0, rtol=1e-5)
    shift = np.asarray(norm.shift)
    norm(_features(1), training=True)
    np.testing.assert_array_equal(norm.shift, shift)
    np.testing.assert_array_equal(norm(x), y)
