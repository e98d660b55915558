"""Transformer layers of DALL·E mini's text encoder and image decoder."""

# B batch, T image tokens, S text tokens, D width, N heads, H head width,
# G tiles, R rows of a tile

import keras
from keras import ops

from keras_dalle.layers.attention import Attention
from keras_dalle.layers.feed_forward import GatedFeedForward
from keras_dalle.layers.norms import make_norm, norm_placement


def padding_mask_to_attention_mask(padding_mask_BS):
    """`[B, S]`, nonzero for real tokens -> bool `[B, 1, 1, S]`."""
    return ops.cast(padding_mask_BS, "bool")[:, None, None, :]


class _TransformerLayer(keras.layers.Layer):
    """What encoder and decoder layers share: arguments and residual branches."""

    def __init__(
        self,
        num_heads,
        intermediate_dim,
        dropout=0.0,
        placement="normformer",
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.intermediate_dim = intermediate_dim
        self.dropout = dropout
        self.placement = placement
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def _build_attention(self, name, shape):
        """Adds `name`, `name_input_norm`, `name_output_norm`, `name_dropout`."""
        norms = norm_placement(self.placement)
        attention = Attention(
            self.num_heads,
            kernel_initializer=self.kernel_initializer,
            dtype=self.dtype_policy,
            name=name,
        )
        input_norm = make_norm(
            norms.before_attention, self.dtype_policy, f"{name}_input_norm"
        )
        output_norm = make_norm(
            norms.after_attention, self.dtype_policy, f"{name}_output_norm"
        )
        for layer in (attention, input_norm, output_norm):
            layer.build(shape)
            setattr(self, layer.name, layer)
        self._build_dropout(f"{name}_dropout")

    def _build_feed_forward(self, shape):
        self.feed_forward = GatedFeedForward(
            self.intermediate_dim,
            placement=self.placement,
            kernel_initializer=self.kernel_initializer,
            dtype=self.dtype_policy,
            name="feed_forward",
        )
        self.feed_forward.build(shape)
        self._build_dropout("feed_forward_dropout")

    def _build_dropout(self, name):
        dropout = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy, name=name)
        setattr(self, name, dropout)

    def _before_attention(self, name, x):
        return getattr(self, f"{name}_input_norm")(x)

    def _after_attention(self, name, x, branch, training=None):
        branch = getattr(self, f"{name}_output_norm")(branch)
        return x + getattr(self, f"{name}_dropout")(branch, training=training)

    def _feed_forward_branch(self, x, row_stable=False, training=None):
        branch = self.feed_forward(x, row_stable=row_stable)
        return x + self.feed_forward_dropout(branch, training=training)

    def compute_output_shape(self, x_shape):
        return x_shape

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "num_heads": self.num_heads,
                "intermediate_dim": self.intermediate_dim,
                "dropout": self.dropout,
                "placement": self.placement,
                "kernel_initializer": keras.initializers.serialize(
                    self.kernel_initializer
                ),
            }
        )
        return config


@keras.saving.register_keras_serializable(package="keras_dalle")
class TextEncoderLayer(_TransformerLayer):
    """Self-attention over the text, then feed-forward.

    Args:
        num_heads: number of attention heads.
        intermediate_dim: width inside the feed-forward block.
        dropout: rate of the dropout on each residual branch.
        placement: name of a row of `NORM_PLACEMENTS`.
        kernel_initializer: initializer of all kernels.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        x_BSD: `[B, S, D]`.
        padding_mask: `[B, S]`, nonzero for real tokens.
        row_stable: multiply each batch entry on its own, see `Dense`.
    """

    def build(self, x_shape):
        self._build_attention("self_attention", x_shape)
        self._build_feed_forward(x_shape)
        self.built = True

    def call(self, x_BSD, padding_mask, row_stable=False, training=None):
        mask_B11S = padding_mask_to_attention_mask(padding_mask)
        h_BSD = self._before_attention("self_attention", x_BSD)
        h_BSD = self.self_attention(h_BSD, h_BSD, mask_B11S, row_stable=row_stable)
        x_BSD = self._after_attention("self_attention", x_BSD, h_BSD, training)
        return self._feed_forward_branch(x_BSD, row_stable, training)


@keras.saving.register_keras_serializable(package="keras_dalle")
class ImageDecoderLayer(_TransformerLayer):
    """Causal self-attention, cross-attention to the text, then feed-forward.

    Args: as `TextEncoderLayer`.

    Call arguments:
        x_BTD: `[B, T, D]`.
        encoder_sequence: `[B, S, D]`, the encoder's output.
        encoder_padding_mask: `[B, S]`, nonzero for real tokens.
    """

    def build(self, x_shape):
        self._build_attention("self_attention", x_shape)
        self._build_attention("cross_attention", x_shape)
        self._build_feed_forward(x_shape)
        self.built = True

    def call(self, x_BTD, encoder_sequence, encoder_padding_mask, training=None):
        index_T = ops.arange(ops.shape(x_BTD)[1])
        causal_TT = index_T[:, None] >= index_T[None, :]
        mask_B11S = padding_mask_to_attention_mask(encoder_padding_mask)
        h_BTD = self._before_attention("self_attention", x_BTD)
        h_BTD = self.self_attention(h_BTD, h_BTD, causal_TT)
        x_BTD = self._after_attention("self_attention", x_BTD, h_BTD, training)
        h_BTD = self._before_attention("cross_attention", x_BTD)
        h_BTD = self.cross_attention(h_BTD, encoder_sequence, mask_B11S)
        x_BTD = self._after_attention("cross_attention", x_BTD, h_BTD, training)
        return self._feed_forward_branch(x_BTD, training=training)

    def decode_step(
        self, x_GRD, tiles, position, self_cache, cross_cache, masks, write
    ):
        """The same for a few tokens whose predecessors are in a cache.

        Args:
            x_GRD: states of T consecutive tokens a row, in row tiles.
            tiles: the `RowTiles` that laid them out.
            position: scalar int, place of the first of them.
            self_cache: pair of `[B, N, L, H]`, the keys and values so far.
            cross_cache: pair of `[B, N, S, H]` from `cross_attention`.
            masks: pair of bool masks for self- and cross-attention.
            write: `write(cache, new, position)` -> cache, e.g. `write_slice`.

        Returns:
            `(x_GRD, self_cache)`.
        """
        self_mask, cross_mask = masks
        h_GRD = self._before_attention("self_attention", x_GRD)
        new = self.self_attention.tiled_keys_values(h_GRD, tiles)
        self_cache = tuple(
            write(cache, entry, position)
            for cache, entry in zip(self_cache, new, strict=True)
        )
        h_GRD = self.self_attention.attend_tiled(h_GRD, tiles, self_cache, self_mask)
        x_GRD = self._after_attention("self_attention", x_GRD, h_GRD)
        h_GRD = self._before_attention("cross_attention", x_GRD)
        h_GRD = self.cross_attention.attend_tiled(h_GRD, tiles, cross_cache, cross_mask)
        x_GRD = self._after_attention("cross_attention", x_GRD, h_GRD)
        return self._feed_forward_branch(x_GRD, row_stable=True), self_cache
