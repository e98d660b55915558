"""The layers of a VQGAN's encoder and decoder, in order."""

import keras

from keras_dalle.layers.vqgan_blocks import (
    DepthToSpace,
    Downsample,
    ResidualBlock,
    SpaceToDepth,
    SpatialAttention,
    Upsample,
    conv3x3,
    group_norm,
    swish,
)


def encoder_layers(
    base_channels,
    channel_multipliers,
    num_res_blocks,
    attention_resolutions,
    latent_channels,
    first_grid,
    patch_size,
    dropout,
    dtype,
):
    """The encoder's layers in order, named as in the original's tree."""
    layers = [conv3x3(base_channels, dtype, "encoder_conv_in")]
    if patch_size > 1:
        layers.insert(0, SpaceToDepth(patch_size, dtype=dtype, name="encoder_fold"))
    grid = first_grid
    last_level = len(channel_multipliers) - 1
    for level, multiplier in enumerate(channel_multipliers):
        channels = base_channels * multiplier
        prefix = f"encoder_down_{level}"
        layers += _level(
            prefix,
            channels,
            num_res_blocks,
            grid in attention_resolutions,
            dropout,
            dtype,
        )
        if level < last_level:
            layers.append(Downsample(dtype=dtype, name=f"{prefix}_downsample"))
            grid //= 2
    layers += _middle("encoder_mid", channels, dropout, dtype)
    layers.append(group_norm(dtype, "encoder_norm_out"))
    layers.append(keras.layers.Activation(swish, dtype=dtype))
    layers.append(conv3x3(latent_channels, dtype, "encoder_conv_out"))
    return layers


def decoder_layers(
    base_channels,
    channel_multipliers,
    num_res_blocks,
    attention_resolutions,
    first_grid,
    patch_size,
    dropout,
    dtype,
):
    """The decoder's layers in order; levels count down, as in the original's tree."""
    last_level = len(channel_multipliers) - 1
    grid = first_grid // 2**last_level
    channels = base_channels * channel_multipliers[-1]
    layers = [conv3x3(channels, dtype, "decoder_conv_in")]
    layers += _middle("decoder_mid", channels, dropout, dtype)
    for level in range(last_level, -1, -1):
        channels = base_channels * channel_multipliers[level]
        prefix = f"decoder_up_{level}"
        layers += _level(
            prefix,
            channels,
            num_res_blocks + 1,
            grid in attention_resolutions,
            dropout,
            dtype,
        )
        if level > 0:
            layers.append(Upsample(dtype=dtype, name=f"{prefix}_upsample"))
            grid *= 2
    layers.append(group_norm(dtype, "decoder_norm_out"))
    layers.append(keras.layers.Activation(swish, dtype=dtype))
    layers.append(conv3x3(3 * patch_size**2, dtype, "decoder_conv_out"))
    if patch_size > 1:
        layers.append(DepthToSpace(patch_size, dtype=dtype, name="decoder_unfold"))
    return layers


def _level(prefix, channels, num_blocks, attention, dropout, dtype):
    layers = []
    for block in range(num_blocks):
        name = f"{prefix}_block_{block}"
        layers.append(ResidualBlock(channels, dropout, dtype=dtype, name=name))
        if attention:
            name = f"{prefix}_attn_{block}"
            layers.append(SpatialAttention(dtype=dtype, name=name))
    return layers


def _middle(prefix, channels, dropout, dtype):
    return [
        ResidualBlock(channels, dropout, dtype=dtype, name=f"{prefix}_block_1"),
        SpatialAttention(dtype=dtype, name=f"{prefix}_attn_1"),
        ResidualBlock(channels, dropout, dtype=dtype, name=f"{prefix}_block_2"),
    ]
