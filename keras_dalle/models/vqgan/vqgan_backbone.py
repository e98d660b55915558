"""VQGAN: pictures to a grid of discrete tokens and back (Esser et al., 2021)."""

# B batch, H height, W width, C channels, E width of a code, T image tokens

import keras
from keras import ops
from keras_hub.models import Backbone

from keras_dalle.layers.vqgan_blocks import GROUPS, conv1x1, upcast_half
from keras_dalle.models.narrow_by_loading import NarrowByLoading
from keras_dalle.models.original_checkpoints import (
    CONFIG_FILES,
    WEIGHT_FILES,
    FromOriginalCheckpoint,
)
from keras_dalle.models.vqgan.autoencoder_layers import decoder_layers, encoder_layers
from keras_dalle.models.vqgan.codebook import Codebook
from keras_dalle.models.vqgan.gumbel_quantizer import GumbelQuantizer
from keras_dalle.models.vqgan.vector_quantizer import VectorQuantizer

# Each quantizer's class, and the backbone's arguments that are its own.
QUANTIZERS = {
    "nearest": (VectorQuantizer, ("commitment_weight",)),
    "gumbel": (GumbelQuantizer, ("kl_weight",)),
    None: (Codebook, ()),
}


@keras.saving.register_keras_serializable(package="keras_dalle")
class VQGANBackbone(FromOriginalCheckpoint, NarrowByLoading, Backbone):
    """Encoder, vector quantizer and decoder of a VQGAN.

    The grid has `image_size / factor` positions a side, where the factor is
    `patch_size` times 2 for each level after the first: the defaults are the released
    f16-16384 model of 256×256 pixels and 16×16 tokens. Called on pictures, the model
    returns a dictionary with `reconstruction` [B, H, W, 3], `indices` int32 [B, T]
    and `quantization_loss` [B]. Without a quantizer there is the decoder alone, as
    min-dalle publishes it: called on image tokens int [B, T], the model returns the
    `reconstruction`.

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
        quantizer: how vectors become tokens: `"nearest"` (see `VectorQuantizer`),
            `"gumbel"` (see `GumbelQuantizer`), or `None` for a decoder alone.
        commitment_weight: float. See `VectorQuantizer`.
        kl_weight: float. See `GumbelQuantizer`.
        patch_size: int. Pixels a side that are folded into channels before the first
            convolution, and unfolded after the last. 1 is the original; more keeps the
            convolutions off the full resolution, where they cost most.
        value_range: tuple of two floats. What black and white are to the encoder and
            decoder: (-1, 1) in taming-transformers, (0, 1) in DALL·E mini's VQGAN.
        dropout: float. Dropout rate in the residual blocks.
        dtype: string or `keras.DTypePolicy`.

    Example:
    ```python
    vqgan = keras_dalle.VQGANBackbone(
        image_size=32, base_channels=32, channel_multipliers=(1, 1, 2),
        attention_resolutions=(8,), latent_channels=32, embedding_dim=8,
        codebook_size=64,
    )
    images = np.random.uniform(0, 255, (2, 32, 32, 3)).astype("uint8")
    tokens = vqgan.encode_images(images)  # int32 [2, 64]
    pictures = vqgan.decode_images(tokens)  # uint8 [2, 32, 32, 3]
    ```
    """

    original_files = CONFIG_FILES + WEIGHT_FILES
    instead_of_quantize = (
        "It has convolutions, which are not quantized. `from_preset(preset, "
        'dtype="bfloat16")` loads it in half the memory.'
    )

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
        quantizer="nearest",
        commitment_weight=0.25,
        kl_weight=1e-8,
        patch_size=1,
        value_range=(-1.0, 1.0),
        dropout=0.0,
        dtype=None,
        **kwargs,
    ):
        factor = patch_size * 2 ** (len(channel_multipliers) - 1)
        _check(image_size, factor, base_channels, quantizer)

        # === Layers ===
        first_grid = image_size // patch_size
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
        decoder_path = (conv1x1(latent_channels, dtype, "post_quant_conv"), *decoder)
        encoder_path = None
        if quantizer is not None:
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
            encoder_path = (*encoder, conv1x1(embedding_dim, dtype, "quant_conv"))
        self.quantizer = _make_quantizer(
            quantizer,
            codebook_size,
            embedding_dim,
            dtype,
            commitment_weight=commitment_weight,
            kl_weight=kl_weight,
        )

        # === Functional Model ===
        grid_size = image_size // factor
        if encoder_path is None:
            inputs = keras.Input((grid_size**2,), dtype="int32", name="image_tokens")
            grid = ops.reshape(inputs, (-1, grid_size, grid_size))
            outputs = {"reconstruction": _chain(decoder_path, self.quantizer(grid))}
        else:
            inputs = keras.Input((image_size, image_size, 3), name="images")
            quantized, indices, loss = self.quantizer(_chain(encoder_path, inputs))
            outputs = {
                "reconstruction": _chain(decoder_path, quantized),
                "indices": ops.reshape(indices, (-1, grid_size**2)),
                "quantization_loss": loss,
            }
        super().__init__(inputs=inputs, outputs=outputs, dtype=dtype, **kwargs)

        # === Config ===
        self.image_size = image_size
        self.base_channels = base_channels
        self.channel_multipliers = tuple(channel_multipliers)
        self.num_res_blocks = num_res_blocks
        self.attention_resolutions = tuple(attention_resolutions)
        self.latent_channels = latent_channels
        self.embedding_dim = embedding_dim
        self.codebook_size = codebook_size
        self.quantizer_kind = quantizer
        self.commitment_weight = commitment_weight
        self.kl_weight = kl_weight
        self.patch_size = patch_size
        self.value_range = tuple(value_range)
        self.dropout = dropout
        self.grid_size = grid_size
        self._encoder_path = encoder_path
        self._decoder_path = decoder_path

    def encode_latents(self, images):
        """Vectors before quantization, [B, grid, grid, embedding_dim].

        Args:
            images: float [B, H, W, 3] in `value_range`.

        Raises:
            ValueError: the model is a decoder alone.
        """
        if self._encoder_path is None:
            raise ValueError(
                "Encoding needs a VQGAN with an encoder. This one is a decoder alone "
                "(`quantizer=None`), such as min-dalle's detoker.pt: load the VQGAN "
                "of vqgan-jax or of taming-transformers."
            )
        return _chain(self._encoder_path, ops.cast(images, self.compute_dtype))

    def encode(self, images):
        """Image tokens, int32 [B, T], row by row from the top left.

        Args:
            images: float [B, H, W, 3] in `value_range`.
        """
        latents = self.encode_latents(images)
        indices = self.quantizer.to_indices(latents)
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
        unit = (upcast_half(values) - low) / (high - low)
        return ops.cast(ops.round(ops.clip(unit, 0.0, 1.0) * 255.0), "uint8")

    def encode_images(self, images):
        """uint8 pictures [B, H, W, 3] to image tokens int32 [B, T]."""
        return self.encode(self.pixels_to_values(images))

    def decode_images(self, image_tokens):
        """Image tokens int [B, T] to uint8 pictures [B, H, W, 3]."""
        return self.values_to_pixels(self.decode(image_tokens))

    @classmethod
    def from_original(cls, directory, load_weights=True, **kwargs):
        """Reads a folder of vqgan-jax, taming-transformers or min-dalle."""
        from keras_dalle.converters.vqgan import load_vqgan

        return load_vqgan(directory, load_weights, **kwargs)

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
                "quantizer": self.quantizer_kind,
                "commitment_weight": self.commitment_weight,
                "kl_weight": self.kl_weight,
                "patch_size": self.patch_size,
                "value_range": self.value_range,
                "dropout": self.dropout,
            }
        )
        return config


def _check(image_size, factor, base_channels, quantizer):
    if image_size % factor:
        raise ValueError(
            f"`image_size` (={image_size}) must be divisible by the downsampling "
            f"factor (={factor}: `patch_size` times 2 a level after the first)."
        )
    if base_channels % GROUPS:
        raise ValueError(
            f"`base_channels` (={base_channels}) must be divisible by {GROUPS}, the "
            "number of normalization groups."
        )
    if quantizer not in QUANTIZERS:
        raise ValueError(
            f"`quantizer` must be one of {list(QUANTIZERS)}. Received: {quantizer!r}."
        )


def _make_quantizer(kind, codebook_size, embedding_dim, dtype, **loss_weights):
    layer_class, names = QUANTIZERS[kind]
    own = {name: loss_weights[name] for name in names}
    return layer_class(
        codebook_size, embedding_dim, **own, dtype=dtype, name="quantizer"
    )


def _chain(layers, x):
    for layer in layers:
        x = layer(x)
    return x
