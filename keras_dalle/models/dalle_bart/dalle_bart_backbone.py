"""The sequence-to-sequence transformer of DALL·E mini and DALL·E Mega."""

# B batch, S text tokens, T image tokens, D width, V image vocabulary + 1,
# L cache length, N heads, H head width, R decoder rows, W tokens of a row,
# Q queries of a row, M matrix rows

import math

import keras
from keras import ops
from keras_hub.layers import PositionEmbedding
from keras_hub.models import Backbone

from keras_dalle.layers.attention import write_everywhere
from keras_dalle.layers.attention_parts import MASKED_LOGIT
from keras_dalle.layers.embedding import Embedding
from keras_dalle.layers.narrow_weights import NarrowWeights, policy_of_logits
from keras_dalle.layers.norms import SCALED
from keras_dalle.layers.row_stable import Dense, RowMatrix
from keras_dalle.layers.transformer import (
    ImageDecoderLayer,
    TextEncoderLayer,
    padding_mask_to_attention_mask,
)
from keras_dalle.layers.variant import TransformerVariant, branch_gains
from keras_dalle.models.narrow_by_loading import NarrowByLoading
from keras_dalle.models.original_checkpoints import (
    CONFIG_FILES,
    WEIGHT_FILES,
    FromOriginalCheckpoint,
)


@keras.saving.register_keras_serializable(package="keras_dalle")
class DalleBartBackbone(FromOriginalCheckpoint, NarrowByLoading, Backbone):
    """BART as DALL·E mini and Mega have it: text tokens in, image tokens out.

    An encoder reads the prompt; a causal decoder with cross-attention predicts a
    grid of VQGAN codes, row by row. Text and image have separate embeddings, and the
    image head is not tied to either. Norms, attention, feed-forward blocks and
    positions are those of the `variant`; the default is DALL·E mini's: NormFormer
    norms, gated linear units, no biases, learned absolute positions.

    Image embedding and head have one row more than the vocabulary, as in the
    original, so that the default start token has a place.

    Args:
        vocabulary_size: number of text tokens.
        image_vocabulary_size: number of image tokens.
        num_encoder_layers: number of encoder layers.
        num_decoder_layers: number of decoder layers.
        num_heads: number of attention heads in every layer.
        hidden_dim: width of the model, divisible by `num_heads`.
        encoder_intermediate_dim: width inside the encoder's feed-forward blocks.
        decoder_intermediate_dim: width inside the decoder's feed-forward blocks.
        max_text_length: number of text positions.
        image_length: number of image positions.
        decoder_start_token_id: token before the first image token; defaults to
            `image_vocabulary_size`.
        dropout: rate after the embeddings and on each residual branch.
        attention_dropout: rate on the attention weights.
        activation_dropout: rate inside the feed-forward blocks.
        init_std: standard deviation of the initial embeddings and kernels.
        num_decoder_heads: number of heads in the decoder's layers; defaults to
            `num_heads`.
        variant: a `keras_dalle.layers.variant.TransformerVariant` or a dictionary of
            its fields, e.g. `{"norm": "rmsnorm"}`; `None` for DALL·E mini's.
        dtype: dtype policy or its name, e.g. `"mixed_bfloat16"`;
            `keras_dalle.layers.narrow_weights.NarrowWeights` for generation from
            kernels in bfloat16 or int8.
        **kwargs: of `keras_hub.models.Backbone`.

    Inputs, a dictionary:
        encoder_token_ids: int `[B, S]`, S at most `max_text_length`.
        encoder_padding_mask: `[B, S]`, 1 for real tokens, 0 for padding.
        decoder_token_ids: int `[B, T]`, T at most `image_length`: the image tokens
            shifted right, so the first is `decoder_start_token_id`.

    Outputs, a dictionary:
        encoder_sequence_output: `[B, S, D]`.
        decoder_sequence_output: `[B, T, D]`.
        logits: `[B, T, image_vocabulary_size + 1]`.

    Raises:
        ValueError: `hidden_dim` is not divisible by a number of heads, or the variant
            names something unknown.

    Example:
    ```python
    import numpy as np
    from keras_dalle import DalleBartBackbone

    backbone = DalleBartBackbone(
        vocabulary_size=100,
        image_vocabulary_size=64,
        num_encoder_layers=2,
        num_decoder_layers=2,
        num_heads=4,
        hidden_dim=32,
        encoder_intermediate_dim=48,
        decoder_intermediate_dim=48,
        max_text_length=8,
        image_length=16,
    )
    outputs = backbone(
        {
            "encoder_token_ids": np.array([[0, 42, 7, 2, 1, 1, 1, 1]]),
            "encoder_padding_mask": np.array([[1, 1, 1, 1, 0, 0, 0, 0]]),
            "decoder_token_ids": np.array([[64, 3, 14, 15]]),
        }
    )
    outputs["logits"].shape  # (1, 4, 65)
    ```
    """

    original_files = CONFIG_FILES + WEIGHT_FILES
    instead_of_quantize = (
        'Load it with `from_preset(preset, dtype=NarrowWeights("int8"))` or "bfloat16" '
        "from `keras_dalle.layers.narrow_weights`."
    )

    def __init__(
        self,
        vocabulary_size,
        image_vocabulary_size,
        num_encoder_layers,
        num_decoder_layers,
        num_heads,
        hidden_dim,
        encoder_intermediate_dim,
        decoder_intermediate_dim,
        max_text_length=64,
        image_length=256,
        decoder_start_token_id=None,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        init_std=0.02,
        num_decoder_heads=None,
        variant=None,
        dtype=None,
        **kwargs,
    ):
        variant = TransformerVariant.of(variant)
        num_decoder_heads = num_decoder_heads or num_heads
        for name, heads in (
            ("num_heads", num_heads),
            ("num_decoder_heads", num_decoder_heads),
        ):
            if hidden_dim % heads:
                raise ValueError(
                    f"`hidden_dim` (={hidden_dim}) must be divisible by `{name}` "
                    f"(={heads})."
                )
        encoder_gains, decoder_gains = branch_gains(
            variant, num_encoder_layers, num_decoder_layers
        )
        common = {
            "variant": variant,
            "text_length": max_text_length,
            "image_length": image_length,
            "dropout": dropout,
            "attention_dropout": attention_dropout,
            "activation_dropout": activation_dropout,
            "init_std": init_std,
            "dtype": dtype,
        }

        # === Layers ===
        self.text_token_embedding = Embedding(
            vocabulary_size,
            hidden_dim,
            embeddings_initializer=_initializer(init_std, dtype),
            dtype=dtype,
            name="text_token_embedding",
        )
        self.text_position_embedding = _position_embedding(
            variant, max_text_length, init_std, dtype, "text_position_embedding"
        )
        self.text_embedding_norm = variant.make_norm(
            SCALED, dtype, "text_embedding_norm"
        )
        self.text_embedding_dropout = keras.layers.Dropout(
            dropout, dtype=dtype, name="text_embedding_dropout"
        )
        self.encoder_layers = [
            TextEncoderLayer(
                num_heads,
                encoder_intermediate_dim,
                gains=encoder_gains,
                norm_after=variant.norm_after_layer(i, num_encoder_layers),
                name=f"encoder_layer_{i}",
                **common,
            )
            for i in range(num_encoder_layers)
        ]
        self.encoder_final_norm = variant.make_norm(
            variant.placement.at_the_end if variant.final_encoder_norm else None,
            dtype,
            "encoder_final_norm",
        )
        self.image_token_embedding = Embedding(
            image_vocabulary_size + 1,
            hidden_dim,
            embeddings_initializer=_initializer(init_std, dtype),
            dtype=dtype,
            name="image_token_embedding",
        )
        self.image_position_embedding = _position_embedding(
            variant, image_length, init_std, dtype, "image_position_embedding"
        )
        self.image_embedding_norm = variant.make_norm(
            SCALED, dtype, "image_embedding_norm"
        )
        self.image_embedding_dropout = keras.layers.Dropout(
            dropout, dtype=dtype, name="image_embedding_dropout"
        )
        self.decoder_layers = [
            ImageDecoderLayer(
                num_decoder_heads,
                decoder_intermediate_dim,
                gains=decoder_gains,
                norm_after=variant.norm_after_layer(i, num_decoder_layers),
                name=f"decoder_layer_{i}",
                **common,
            )
            for i in range(num_decoder_layers)
        ]
        self.decoder_final_norm = variant.make_norm(
            variant.placement.at_the_end if variant.final_decoder_norm else None,
            dtype,
            "decoder_final_norm",
        )
        self.image_head = Dense(
            image_vocabulary_size + 1,
            kernel_initializer=_initializer(init_std, dtype),
            dtype=policy_of_logits(dtype),
            name="image_head",
        )

        # === Functional Model ===
        self._embedding_scale = (
            math.sqrt(hidden_dim) if variant.scale_embedding else None
        )
        encoder_token_ids = keras.Input(
            (None,), dtype="int32", name="encoder_token_ids"
        )
        encoder_padding_mask = keras.Input(
            (None,), dtype="int32", name="encoder_padding_mask"
        )
        decoder_token_ids = keras.Input(
            (None,), dtype="int32", name="decoder_token_ids"
        )
        x_BSD = self.encode(encoder_token_ids, encoder_padding_mask)
        x_BTD = self.image_embedding_norm(self._embed_image(decoder_token_ids))
        x_BTD = self.image_embedding_dropout(x_BTD)
        for layer in self.decoder_layers:
            x_BTD = layer(x_BTD, x_BSD, encoder_padding_mask)
        x_BTD = self.decoder_final_norm(x_BTD)
        super().__init__(
            inputs={
                "encoder_token_ids": encoder_token_ids,
                "encoder_padding_mask": encoder_padding_mask,
                "decoder_token_ids": decoder_token_ids,
            },
            outputs={
                "encoder_sequence_output": x_BSD,
                "decoder_sequence_output": x_BTD,
                "logits": self.image_head(x_BTD),
            },
            dtype=dtype,
            **kwargs,
        )

        # === Config ===
        if decoder_start_token_id is None:
            decoder_start_token_id = image_vocabulary_size
        self.vocabulary_size = vocabulary_size
        self.image_vocabulary_size = image_vocabulary_size
        self.num_encoder_layers = num_encoder_layers
        self.num_decoder_layers = num_decoder_layers
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.encoder_intermediate_dim = encoder_intermediate_dim
        self.decoder_intermediate_dim = decoder_intermediate_dim
        self.max_text_length = max_text_length
        self.image_length = image_length
        self.decoder_start_token_id = decoder_start_token_id
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.activation_dropout = activation_dropout
        self.init_std = init_std
        self.num_decoder_heads = num_decoder_heads
        self.variant = variant

    @property
    def token_embedding(self):
        """Returns the embedding of text tokens, under KerasHub's name for it."""
        return self.text_token_embedding

    def encode(self, token_ids, padding_mask, row_stable=False):
        """Runs the text encoder alone.

        Args:
            token_ids: int `[B, S]`.
            padding_mask: `[B, S]`, 1 for real tokens.
            row_stable: multiply each row on its own, so that a row's result is
                the same bits in any batch. See `keras_dalle.layers.row_stable.Dense`.

        Returns:
            `[B, S, D]`, after the final norm.
        """
        x_BSD = self._embed(
            self.text_token_embedding, self.text_position_embedding, token_ids
        )
        x_BSD = self.text_embedding_dropout(self.text_embedding_norm(x_BSD))
        for layer in self.encoder_layers:
            x_BSD = layer(x_BSD, padding_mask, row_stable=row_stable)
        return self.encoder_final_norm(x_BSD)

    def _embed_image(self, token_ids, positions=None):
        return self._embed(
            self.image_token_embedding,
            self.image_position_embedding,
            token_ids,
            positions,
        )

    def _embed(self, tokens, position_embedding, token_ids, positions=None):
        x_BTD = tokens(token_ids)
        if self._embedding_scale is not None:
            x_BTD = x_BTD * self._embedding_scale
        if position_embedding is None:
            return x_BTD
        return x_BTD + position_embedding(x_BTD, positions=positions)

    def empty_self_attention_cache(self, batch_size):
        """A cache for `decode_step` before the first token.

        Args:
            batch_size: B, an int or a scalar tensor.

        Returns:
            One pair (keys, values) of zeros `[B, N, L, H]` a decoder layer, L the
            image length.
        """
        shape = (
            batch_size,
            self.num_decoder_heads,
            self.image_length,
            self.hidden_dim // self.num_decoder_heads,
        )
        return [
            (ops.zeros(shape, self.compute_dtype), ops.zeros(shape, self.compute_dtype))
            for _ in range(self.num_decoder_layers)
        ]

    def cross_attention_cache(self, encoder_sequence):
        """The keys and values of the text, made once for all image tokens.

        Args:
            encoder_sequence: `[B, S, D]` from `encode`.

        Returns:
            One pair (keys, values) of `[B, N, S, H]` a decoder layer.
        """
        return [
            layer.cross_attention.keys_values(encoder_sequence, row_stable=True)
            for layer in self.decoder_layers
        ]

    def decode_step(
        self,
        token_ids,
        positions,
        self_attention_cache,
        cross_attention_cache,
        encoder_padding_mask,
        write=write_everywhere,
    ):
        """Predicts the tokens after some image tokens, given their predecessors.

        Args:
            token_ids: int `[R, W]`: a few decoder inputs of each row.
            positions: int `[R, W]`, their positions, consecutive in a row.
            self_attention_cache: one pair (keys, values) of `[R, N, L, H]` a layer,
                filled before a row's first position; L is above every position.
            cross_attention_cache: from `cross_attention_cache`.
            encoder_padding_mask: `[R, S]`, 1 for real tokens.
            write: how a cache is written, `write(cache, new, positions)`.

        Returns:
            `(logits [R, W, V], self_attention_cache)`. A row's logits are the same
            bits in any batch of at most 96 tokens, see `keras_dalle.layers.row_stable`.
        """
        num_rows, length = ops.shape(token_ids)
        positions = ops.cast(positions, "int32")
        rows = RowMatrix(num_rows, length)
        x_MD = self.image_embedding_norm(
            rows.join(self._embed_image(token_ids, positions))
        )
        positions = positions, rows.pad_queries(positions)
        index_L = ops.arange(ops.shape(self_attention_cache[0][0])[2])
        mask_biases = (
            _mask_bias(positions[1][:, None, :, None] >= index_L),
            _mask_bias(padding_mask_to_attention_mask(encoder_padding_mask)),
        )
        updated = []
        for layer, self_cache, cross_cache in zip(
            self.decoder_layers,
            self_attention_cache,
            cross_attention_cache,
            strict=True,
        ):
            x_MD, self_cache = layer.decode_step(
                x_MD, rows, positions, self_cache, cross_cache, mask_biases, write
            )
            updated.append(self_cache)
        return rows.split(self.image_head(self.decoder_final_norm(x_MD))), updated

    @classmethod
    def from_original(cls, directory, load_weights=True, **kwargs):
        """Reads a folder of DALL·E mini or of min-dalle."""
        from keras_dalle.converters.dalle_bart import load_dalle_bart
        from keras_dalle.converters.min_dalle import is_min_dalle, load_min_dalle

        load = load_min_dalle if is_min_dalle(directory) else load_dalle_bart
        return load(directory, load_weights, **kwargs)

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "vocabulary_size": self.vocabulary_size,
                "image_vocabulary_size": self.image_vocabulary_size,
                "num_encoder_layers": self.num_encoder_layers,
                "num_decoder_layers": self.num_decoder_layers,
                "num_heads": self.num_heads,
                "hidden_dim": self.hidden_dim,
                "encoder_intermediate_dim": self.encoder_intermediate_dim,
                "decoder_intermediate_dim": self.decoder_intermediate_dim,
                "max_text_length": self.max_text_length,
                "image_length": self.image_length,
                "decoder_start_token_id": self.decoder_start_token_id,
                "dropout": self.dropout,
                "attention_dropout": self.attention_dropout,
                "activation_dropout": self.activation_dropout,
                "init_std": self.init_std,
                "num_decoder_heads": self.num_decoder_heads,
                "variant": self.variant.fields(),
            }
        )
        return config


def _initializer(init_std, dtype):
    # Narrow weights are loaded, and what random ones leave behind stays with
    # TensorFlow's allocator: 0.3 GB for DALL·E Mega.
    if isinstance(keras.dtype_policies.get(dtype), NarrowWeights):
        return keras.initializers.Zeros()
    return keras.initializers.RandomNormal(stddev=init_std)


def _mask_bias(mask):
    """What attention adds to its logits: float32, 0 where `mask` is true."""
    return ops.where(mask, 0.0, MASKED_LOGIT)


def _position_embedding(variant, length, init_std, dtype, name):
    """Learned absolute positions, or `None` where the variant has none."""
    if not variant.absolute_positions:
        return None
    return PositionEmbedding(
        length, initializer=_initializer(init_std, dtype), dtype=dtype, name=name
    )
