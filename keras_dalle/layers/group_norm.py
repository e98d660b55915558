"""Group normalization that reads a feature map at the speed of memory."""

# B batch, H height, W width, C channels, G groups

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_dalle")
class GroupNormalization(keras.layers.GroupNormalization):
    """Keras's layer on feature maps `[B, H, W, C]`, with faster means.

    TensorFlow's mean over rows, columns and the channels of a group at once took 8.9 ms
    of a map of 256×256 positions and 128 channels, that over columns alone 1 ms: of a
    decoded picture a fifth of its time. So mean and variance are first those of each
    row and channel, and of these the group's are made: its variance is the mean of the
    variances within, plus the variance of the means.

    Arguments as `keras.layers.GroupNormalization`; channels are last.
    """

    def call(self, inputs):
        wide = keras.backend.result_type(inputs.dtype, "float32")
        x_BHWC = ops.cast(inputs, wide)
        mean_BHC, variance_BHC = ops.moments(x_BHWC, axes=(2,))
        mean_BG1, between_BG1 = ops.moments(
            self._by_group(mean_BHC), axes=(1, 3), keepdims=True
        )
        within = ops.mean(self._by_group(variance_BHC), axis=(1, 3), keepdims=True)
        factor = ops.rsqrt(between_BG1 + within + self.epsilon)
        factor = factor * self._of_groups(self.gamma, wide)
        shift = self._of_groups(self.beta, wide) - mean_BG1 * factor
        shape = (-1, 1, 1, inputs.shape[-1])
        outputs = x_BHWC * ops.reshape(factor, shape) + ops.reshape(shift, shape)
        return ops.cast(outputs, self.compute_dtype)

    def _by_group(self, x_BHC):
        """`[B, H, C]` -> `[B, H, G, C / G]`."""
        batch_size, height = ops.shape(x_BHC)[:2]
        width = x_BHC.shape[-1] // self.groups
        return ops.reshape(x_BHC, (batch_size, height, self.groups, width))

    def _of_groups(self, weight_C, dtype):
        """`[C]` -> `[G, C / G]`."""
        return ops.reshape(ops.cast(weight_C, dtype), (self.groups, -1))
