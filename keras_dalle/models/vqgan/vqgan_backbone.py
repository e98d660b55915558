"""VQGAN: pictures to a grid of discrete tokens and back (Esser et al., 2021)."""

# B batch, H height, W width, C channels, E width of a code, T image tokens

import keras
from keras import ops
from keras_hub.models import Backbone

from keras_dalle.layers.vqgan_blocks import (
    DepthToSpace,
    Downsample,
    ResidualBlock,
    SpaceToDepth,
    SpatialAttention,
    Upsample,
    conv1x1,
    conv3x3,
    group_norm,
)
from keras_dalle.models.original_checkpoints import FromOriginalCheckpoint
from keras_dalle.models.vqgan.vector_quantizer import VectorQuantizer


@keras.saving.register_keras_serializable(package="keras_dalle")
class VQGANBackbone(FromOriginalCheckpoint, Backbone):
    """Encoder, vector quantizer and decoder of a VQGAN.

    The grid has `image_size / factor` positions a side, where the factor is
    `patch_size` times 2 for each level after the first: the defaults are the released
    f16-16384 model of 256×256 pixels and 16×16 tokens. Called on pictures, the model
    returns a dictionary with `reconstruction` [B, H, W, 3], `indices` int32 [B, T]
    and `quantization_loss` [B].

    Args:
        image_size: int. Height and width in pixels.
        base_channels: int. Channels at the first level.
        channel_multipliers: tuple of ints. Channels of each level, as multiples of
            `base_channels`; the grid halves between levels.
        num_res_blocks: int. Residual blocks a level (the decoder has one more).
        attention_resolutions: tuple of ints. Grid sides at which attention follows
            each residual block.
        latent_channels: int. Channels of the encoder's output.
        embedding_dim: int. Width of a code.
        codebook_size: int. Number of codes.
        commitment_weight: float. See `VectorQuantizer`.
        patch_size: int. Pixels a side that are folded into channels before the first
            convolution, and unfolded after the last. 1 is the original; more keeps the
            convolutions off the full resolution, where they cost most.
        value_range: tuple of two floats. What black and white are to the encoder and
            decoder: (-1, 1) in taming-transformers, (0, 1) in DALL·E mini's VQGAN.
        dropout: float. Dropout rate in the residual blocks.
        dtype: string or `keras.DTypePolicy`.

    Example:
    ```python
    vqgan = keras_dalle.models.VQGANBackbone(
        image_size=32, base_channels=32, channel_multipliers=(1, 1, 2),
        attention_resolutions=(8,), latent_channels=32, embedding_dim=8,
        codebook_size=64,
    )
    images = np.random.uniform(0, 255, (2, 32, 32, 3)).astype("uint8")
    tokens = vqgan.encode_images(images)  # int32 [2, 64]
    pictures = vqgan.decode_images(tokens)  # uint8 [2, 32, 32, 3]
    ```
    """

    def __init__(
        self,
        image_size=256,
        base_channels=128,
        channel_multipliers=(1, 1, 2, 2, 4),
        num_res_blocks=2,
        attention_resolutions=(16,),
        latent_channels=256,
        embedding_dim=256,
        codebook_size=16384,
        commitment_weight=0.25,
        patch_size=1,
        value_range=(-1.0, 1.0),
        dropout=0.0,
        dtype=None,
        **kwargs,
    ):
        factor = patch_size * 2 ** (len(channel_multipliers) - 1)
        if image_size % factor:
            raise ValueError(
                f"`image_size` (={image_size}) must be divisible by the downsampling "
                f"factor (={factor}: `patch_size` times 2 a level after the first)."
            )
        if base_channels % 32:
            raise ValueError(
                f"`base_channels` (={base_channels}) must be divisible by 32, the "
                "number of normalization groups."
            )

        # === Layers ===
        first_grid = image_size // patch_size
        encoder = encoder_layers(
            base_channels,
            channel_multipliers,
            num_res_blocks,
            attention_resolutions,
            latent_channels,
            first_grid,
            patch_size,
            dropout,
            dtype,
        )
        decoder = decoder_layers(
            base_channels,
            channel_multipliers,
            num_res_blocks,
            attention_resolutions,
            first_grid,
            patch_size,
            dropout,
            dtype,
        )
        quant_conv = conv1x1(embedding_dim, dtype, "quant_conv")
        post_quant_conv = conv1x1(latent_channels, dtype, "post_quant_conv")
        self.quantizer = VectorQuantizer(
            codebook_size,
            embedding_dim,
            commitment_weight,
            dtype=dtype,
            name="quantizer",
        )

        # === Functional Model ===
        images = keras.Input((image_size, image_size, 3), name="images")
        latents = quant_conv(_chain(encoder, images))
        quantized, indices, loss = self.quantizer(latents)
        reconstruction = _chain(decoder, post_quant_conv(quantized))
        grid_size = image_size // factor
        super().__init__(
            inputs=images,
            outputs={
                "reconstruction": reconstruction,
                "indices": ops.reshape(indices, (-1, grid_size**2)),
                "quantization_loss": loss,
            },
            dtype=dtype,
            **kwargs,
        )

        # === Config ===
        self.image_size = image_size
        self.base_channels = base_channels
        self.channel_multipliers = tuple(channel_multipliers)
        self.num_res_blocks = num_res_blocks
        self.attention_resolutions = tuple(attention_resolutions)
        self.latent_channels = latent_channels
        self.embedding_dim = embedding_dim
        self.codebook_size = codebook_size
        self.commitment_weight = commitment_weight
        self.patch_size = patch_size
        self.value_range = tuple(value_range)
        self.dropout = dropout
        self.grid_size = grid_size
        self._encoder_path = (*encoder, quant_conv)
        self._decoder_path = (post_quant_conv, *decoder)

    def encode_latents(self, images):
        """Vectors before quantization, [B, grid, grid, embedding_dim].

        Args:
            images: float [B, H, W, 3] in `value_range`.
        """
        return _chain(self._encoder_path, ops.cast(images, self.compute_dtype))

    def encode(self, images):
        """Image tokens, int32 [B, T], row by row from the top left.

        Args:
            images: float [B, H, W, 3] in `value_range`.
        """
        indices = self.quantizer.nearest(self.encode_latents(images))
        return ops.reshape(indices, (-1, self.grid_size**2))

    def decode(self, image_tokens):
        """Pictures, float [B, H, W, 3], nominally in `value_range`.

        Args:
            image_tokens: int [B, T], each in [0, codebook_size).
        """
        grid = ops.reshape(image_tokens, (-1, self.grid_size, self.grid_size))
        return _chain(self._decoder_path, self.quantizer.lookup(grid))

    def pixels_to_values(self, images):
        """uint8 pixels to floats in `value_range`."""
        low, high = self.value_range
        return ops.cast(images, self.compute_dtype) / 255.0 * (high - low) + low

    def values_to_pixels(self, values):
        """Floats in `value_range` (clipped to it) to uint8 pixels."""
        low, high = self.value_range
        unit = (ops.cast(values, "float32") - low) / (high - low)
        return ops.cast(ops.round(ops.clip(unit, 0.0, 1.0) * 255.0), "uint8")

    def encode_images(self, images):
        """uint8 pictures [B, H, W, 3] to image tokens int32 [B, T]."""
        return self.encode(self.pixels_to_values(images))

    def decode_images(self, image_tokens):
        """Image tokens int [B, T] to uint8 pictures [B, H, W, 3]."""
        return self.values_to_pixels(self.decode(image_tokens))

    @classmethod
    def from_original(cls, directory, load_weights=True, **kwargs):
        """Reads a folder of vqgan-jax: config.json and flax_model.msgpack."""
        from keras_dalle.converters.vqgan import load_flax_vqgan

        return load_flax_vqgan(directory, load_weights, **kwargs)

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "image_size": self.image_size,
                "base_channels": self.base_channels,
                "channel_multipliers": self.channel_multipliers,
                "num_res_blocks": self.num_res_blocks,
                "attention_resolutions": self.attention_resolutions,
                "latent_channels": self.latent_channels,
                "embedding_dim": self.embedding_dim,
                "codebook_size": self.codebook_size,
                "commitment_weight": self.commitment_weight,
                "patch_size": self.patch_size,
                "value_range": self.value_range,
                "dropout": self.dropout,
            }
        )
        return config


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
    layers = [SpaceToDepth(patch_size, name="encoder_fold")] if patch_size > 1 else []
    layers.append(conv3x3(base_channels, dtype, "encoder_conv_in"))
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
    layers.append(keras.layers.Activation("silu", dtype=dtype))
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
    layers.append(keras.layers.Activation("silu", dtype=dtype))
    layers.append(conv3x3(3 * patch_size**2, dtype, "decoder_conv_out"))
    if patch_size > 1:
        layers.append(DepthToSpace(patch_size, name="decoder_unfold"))
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


def _chain(layers, x):
    for layer in layers:
        x = layer(x)
    return x
