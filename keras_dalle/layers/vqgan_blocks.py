"""Convolutional blocks of the VQGAN encoder and decoder (Esser et al., 2021)."""

# B batch, H height, W width, C channels, K key positions (= H*W)

import keras
from keras import ops

from keras_dalle.layers.group_norm import GroupNormalization

GROUPS = 32
GROUP_NORM_EPSILON = 1e-6


def upcast_half(x):
    """`x` in float32 where it is in half precision, and as it is otherwise."""
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


def swish(x):
    """`x * sigmoid(x)` (https://arxiv.org/abs/1710.05941).

    Not `ops.silu`, whose `sigmoid(1.0 * x)` TensorFlow fuses into one operation in one
    graph and not in another: one pixel in some 10,000 was then off by 1 in a stream.
    """
    return x * ops.sigmoid(x)


def group_norm(dtype=None, name=None) -> GroupNormalization:
    """GroupNorm as the original VQGAN has it: 32 groups, epsilon 1e-6."""
    return GroupNormalization(
        groups=GROUPS, epsilon=GROUP_NORM_EPSILON, dtype=dtype, name=name
    )


@keras.saving.register_keras_serializable(package="keras_dalle")
class ResidualBlock(keras.layers.Layer):
    """Norm, swish, 3×3 convolution, twice, with a 1×1 shortcut if C changes.

    Args:
        channels: int. Channels of the output.
        dropout: float. Dropout rate before the second convolution.
    """

    def __init__(self, channels, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.rate = dropout
        policy = self.dtype_policy
        self.norm1 = group_norm(policy, "norm1")
        self.conv1 = conv3x3(channels, policy, "conv1")
        self.norm2 = group_norm(policy, "norm2")
        self.dropout = keras.layers.Dropout(dropout, dtype=policy, name="dropout")
        self.conv2 = conv3x3(channels, policy, "conv2")
        self.shortcut = None

    def build(self, input_shape):
        hidden_shape = (*input_shape[:-1], self.channels)
        self.norm1.build(input_shape)
        self.conv1.build(input_shape)
        self.norm2.build(hidden_shape)
        self.conv2.build(hidden_shape)
        if input_shape[-1] != self.channels:
            self.shortcut = conv1x1(self.channels, self.dtype_policy, "shortcut")
            self.shortcut.build(input_shape)

    def call(self, x_BHWC, training=None):
        h_BHWC = self.conv1(swish(self.norm1(x_BHWC)))
        h_BHWC = self.dropout(swish(self.norm2(h_BHWC)), training=training)
        h_BHWC = self.conv2(h_BHWC)
        if self.shortcut is not None:
            x_BHWC = self.shortcut(x_BHWC)
        return x_BHWC + h_BHWC

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.channels)

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "dropout": self.rate,
        }


@keras.saving.register_keras_serializable(package="keras_dalle")
class SpatialAttention(keras.layers.Layer):
    """Single-head self-attention over all positions of a feature map."""

    def build(self, input_shape):
        channels = input_shape[-1]
        policy = self.dtype_policy
        self.norm = group_norm(policy, "norm")
        self.query = conv1x1(channels, policy, "query")
        self.key = conv1x1(channels, policy, "key")
        self.value = conv1x1(channels, policy, "value")
        self.attention_output = conv1x1(channels, policy, "attention_output")
        sublayers = (self.query, self.key, self.value, self.attention_output)
        for layer in (self.norm, *sublayers):
            layer.build(input_shape)

    def call(self, x_BHWC):
        _, height, width, channels = x_BHWC.shape
        normed_BHWC = self.norm(x_BHWC)

        def flat(projection):
            return ops.reshape(projection(normed_BHWC), (-1, height * width, channels))

        q_BQC, k_BKC, v_BKC = flat(self.query), flat(self.key), flat(self.value)
        logits_BQK = ops.einsum("BQC,BKC->BQK", q_BQC, k_BKC) * channels**-0.5
        weights_BQK = ops.softmax(upcast_half(logits_BQK), axis=-1)
        weights_BQK = ops.cast(weights_BQK, v_BKC.dtype)
        h_BQC = ops.einsum("BQK,BKC->BQC", weights_BQK, v_BKC)
        h_BHWC = ops.reshape(h_BQC, (-1, height, width, channels))
        return x_BHWC + self.attention_output(h_BHWC)

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable(package="keras_dalle")
class Downsample(keras.layers.Layer):
    """Strided 3×3 convolution, padded at the bottom and right only."""

    def build(self, input_shape):
        self.pad = keras.layers.ZeroPadding2D(
            ((0, 1), (0, 1)), dtype=self.dtype_policy, name="pad"
        )
        self.conv = keras.layers.Conv2D(
            input_shape[-1], 3, strides=2, dtype=self.dtype_policy, name="conv"
        )
        self.conv.build(self.pad.compute_output_shape(input_shape))

    def call(self, x_BHWC):
        return self.conv(self.pad(x_BHWC))

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, height // 2, width // 2, channels)


@keras.saving.register_keras_serializable(package="keras_dalle")
class Upsample(keras.layers.Layer):
    """Nearest-neighbour doubling of the grid, then a 3×3 convolution."""

    def build(self, input_shape):
        self.repeat = keras.layers.UpSampling2D(2, dtype=self.dtype_policy)
        self.conv = conv3x3(input_shape[-1], self.dtype_policy, "conv")
        self.conv.build(input_shape)

    def call(self, x_BHWC):
        return self.conv(self.repeat(x_BHWC))

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, height * 2, width * 2, channels)


@keras.saving.register_keras_serializable(package="keras_dalle")
class SpaceToDepth(keras.layers.Layer):
    """[B, H*P, W*P, C] to [B, H, W, P*P*C]: each P×P patch becomes one position."""

    def __init__(self, patch_size, **kwargs):
        super().__init__(**kwargs)
        self.patch_size = patch_size

    def call(self, x_BHWC):
        _, height, width, channels = x_BHWC.shape
        p = self.patch_size
        x = ops.reshape(x_BHWC, (-1, height // p, p, width // p, p, channels))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, height // p, width // p, p * p * channels))

    def get_config(self):
        return {**super().get_config(), "patch_size": self.patch_size}


@keras.saving.register_keras_serializable(package="keras_dalle")
class DepthToSpace(keras.layers.Layer):
    """The inverse of `SpaceToDepth`."""

    def __init__(self, patch_size, **kwargs):
        super().__init__(**kwargs)
        self.patch_size = patch_size

    def call(self, x_BHWC):
        _, height, width, channels = x_BHWC.shape
        p = self.patch_size
        x = ops.reshape(x_BHWC, (-1, height, width, p, p, channels // p**2))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, height * p, width * p, channels // p**2))

    def get_config(self):
        return {**super().get_config(), "patch_size": self.patch_size}


def conv3x3(channels, dtype=None, name=None) -> keras.layers.Conv2D:
    """3×3 convolution that keeps the grid."""
    return keras.layers.Conv2D(channels, 3, padding="same", dtype=dtype, name=name)


def conv1x1(channels, dtype=None, name=None) -> keras.layers.Conv2D:
    """1×1 convolution."""
    return keras.layers.Conv2D(channels, 1, dtype=dtype, name=name)
