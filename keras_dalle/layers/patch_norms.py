"""The norms of a PatchGAN discriminator, as PyTorch computes them."""

# B batch, H height, W width, C channels

import keras
from keras import ops

from keras_dalle.layers.vqgan_blocks import upcast_half

_POSITIONS = (0, 1, 2)


@keras.saving.register_keras_serializable(package="keras_dalle")
class TorchBatchNorm(keras.layers.Layer):
    """Batch normalization with PyTorch's running statistics.

    Keras moves its running variance towards the biased variance of a batch,
    `torch.nn.BatchNorm2d` towards the unbiased one, n / (n - 1) times as large. At a
    PatchGAN's few positions the logits would differ after training.

    Args:
        momentum: float. The share of the old running statistics that is kept.
        epsilon: float. Added to the variance.
    """

    def __init__(self, momentum=0.9, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape):
        shape = (input_shape[-1],)
        add = self.add_weight
        self.gamma = add(shape=shape, initializer="ones", name="gamma")
        self.beta = add(shape=shape, initializer="zeros", name="beta")
        self.moving_mean = add(
            shape=shape, initializer="zeros", trainable=False, name="moving_mean"
        )
        self.moving_variance = add(
            shape=shape, initializer="ones", trainable=False, name="moving_variance"
        )
        # PyTorch counts the batches and stores the number beside the statistics.
        self.batches = add(
            shape=(), initializer="zeros", trainable=False, name="batches"
        )

    def call(self, x_BHWC, training=None):
        x = upcast_half(x_BHWC)
        mean_C = ops.cast(self.moving_mean, x.dtype)
        variance_C = ops.cast(self.moving_variance, x.dtype)
        if training and self.trainable:
            mean_C, variance_C = ops.moments(x, axes=_POSITIONS)
            self._update(mean_C, variance_C, count=ops.size(x) // x.shape[-1])
        scale_C = ops.cast(self.gamma, x.dtype) * ops.rsqrt(variance_C + self.epsilon)
        y = (x - mean_C) * scale_C + ops.cast(self.beta, x.dtype)
        return ops.cast(y, self.compute_dtype)

    def _update(self, mean_C, variance_C, count):
        count = ops.cast(count, variance_C.dtype)
        unbiased_C = variance_C * count / (count - 1)
        for variable, value in (
            (self.moving_mean, mean_C),
            (self.moving_variance, unbiased_C),
        ):
            value = ops.cast(value, variable.dtype)
            variable.assign(variable * self.momentum + value * (1 - self.momentum))
        self.batches.assign_add(1)

    def get_config(self):
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
        }


@keras.saving.register_keras_serializable(package="keras_dalle")
class ActNorm(keras.layers.Layer):
    """A shift and a scale for each channel, set by the first training batch.

    Kingma and Dhariwal (2018), "Glow", section 3.1: that batch leaves with mean 0 and
    standard deviation 1 in each channel. The unbiased deviation and the 1e-6 that is
    added to it are taming-transformers'.
    """

    def build(self, input_shape):
        shape = (input_shape[-1],)
        self.shift = self.add_weight(shape=shape, initializer="zeros", name="shift")
        self.scale = self.add_weight(shape=shape, initializer="ones", name="scale")
        self.initialized = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="initialized"
        )

    def call(self, x_BHWC, training=None):
        if training:
            self._initialize_once(upcast_half(x_BHWC))
        shift_C = ops.cast(self.shift, x_BHWC.dtype)
        return (x_BHWC + shift_C) * ops.cast(self.scale, x_BHWC.dtype)

    def _initialize_once(self, x):
        mean_C, variance_C = ops.moments(x, axes=_POSITIONS)
        count = ops.cast(ops.size(x) // x.shape[-1], x.dtype)
        deviation_C = ops.sqrt(variance_C * count / (count - 1))
        for variable, value in (
            (self.shift, -mean_C),
            (self.scale, 1.0 / (deviation_C + 1e-6)),
        ):
            value = ops.stop_gradient(ops.cast(value, variable.dtype))
            variable.assign(ops.where(self.initialized > 0, variable, value))
        self.initialized.assign(ops.ones_like(self.initialized))
