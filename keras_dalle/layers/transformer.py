"""Transformer layers of DALL·E mini's text encoder and image decoder."""

# B batch, T image tokens, S text tokens, D width, N heads, H head width,
# R decoder rows, W tokens of a row, M matrix rows, L cache length

from dataclasses import asdict

import keras
from keras import ops

from keras_dalle.layers.attention import Attention
from keras_dalle.layers.feed_forward import FEED_FORWARD_BLOCKS
from keras_dalle.layers.variant import BranchGains, TransformerVariant


def padding_mask_to_attention_mask(padding_mask_BS):
    """`[B, S]`, nonzero for real tokens -> bool `[B, 1, 1, S]`."""
    return ops.cast(padding_mask_BS, "bool")[:, None, None, :]


class _TransformerLayer(keras.layers.Layer):
    """What encoder and decoder layers share: arguments and residual branches.

    Args:
        num_heads: number of attention heads.
        intermediate_dim: width inside the feed-forward block.
        variant: a `TransformerVariant` or its fields; `None` for DALL·E mini's.
        gains: `BranchGains` or its fields; `None` for 1.
        norm_after: kind of the norm after the whole layer, or `None`.
        text_length: text positions, for relative position biases.
        image_length: image positions, for relative position biases.
        dropout: rate of the dropout on each residual branch.
        attention_dropout: rate of the dropout on the attention weights.
        activation_dropout: rate of the dropout inside the feed-forward block.
        init_std: standard deviation of the initial kernels, before the gains.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(
        self,
        num_heads,
        intermediate_dim,
        variant=None,
        gains=None,
        norm_after=None,
        text_length=None,
        image_length=None,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        init_std=0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.intermediate_dim = intermediate_dim
        self.variant = TransformerVariant.of(variant)
        self.gains = BranchGains(**gains) if isinstance(gains, dict) else gains
        self.gains = self.gains or BranchGains()
        self.norm_after = norm_after
        self.text_length = text_length
        self.image_length = image_length
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.activation_dropout = activation_dropout
        self.init_std = init_std

    def _initializer(self, gain=1.0):
        return keras.initializers.RandomNormal(stddev=self.init_std * gain)

    def _build_attention(
        self, name, shape, input_norm, lengths, branch_gain, **arguments
    ):
        """Adds `name`, `name_{input,output,sum}_norm` and `name_dropout`."""
        variant = self.variant
        layer = Attention(
            self.num_heads,
            use_bias=variant.use_bias,
            cosine_tau=variant.cosine_attention_tau,
            head_scale=variant.head_scale,
            position_bias_lengths=lengths if variant.relative_position_bias else None,
            dropout=self.attention_dropout,
            kernel_initializer=self._initializer(),
            branch_initializer=self._initializer(branch_gain),
            dtype=self.dtype_policy,
            name=name,
            **arguments,
        )
        layer.build(shape)
        setattr(self, name, layer)
        self._build_norm(f"{name}_input_norm", input_norm, shape)
        self._build_norm(
            f"{name}_output_norm", variant.placement.after_attention, shape
        )
        self._build_norm(
            f"{name}_sum_norm", variant.placement.after_attention_sum, shape
        )
        self._build_dropout(f"{name}_dropout")

    def _build_self_attention(self, shape, input_norm, length, **arguments):
        has_norm = self.variant.placement.within_self_attention is not None
        self._build_attention(
            "self_attention",
            shape,
            input_norm,
            (length, length),
            self.gains.kernel,
            inside_norm=self.variant.norm if has_norm else None,
            **arguments,
        )

    def _build_feed_forward(self, shape):
        self.feed_forward = FEED_FORWARD_BLOCKS[self.variant.feed_forward](
            self.intermediate_dim,
            variant=self.variant,
            dropout=self.activation_dropout,
            kernel_initializer=self._initializer(self.gains.kernel),
            dtype=self.dtype_policy,
            name="feed_forward",
        )
        self.feed_forward.build(shape)
        self._build_dropout("feed_forward_dropout")
        self._build_norm("layer_norm", self.norm_after, shape)

    def _build_norm(self, name, kind, shape):
        norm = self.variant.make_norm(kind, self.dtype_policy, name)
        norm.build(shape)
        setattr(self, name, norm)

    def _build_dropout(self, name):
        dropout = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy, name=name)
        setattr(self, name, dropout)

    def _before_attention(self, name, x):
        return getattr(self, f"{name}_input_norm")(x)

    def _after_attention(self, name, x, branch, training=None):
        branch = getattr(self, f"{name}_output_norm")(branch)
        branch = getattr(self, f"{name}_dropout")(branch, training=training)
        return getattr(self, f"{name}_sum_norm")(self._residual(x) + branch)

    def _feed_forward_branch(self, x, row_stable=False, training=None):
        branch = self.feed_forward(x, row_stable=row_stable, training=training)
        branch = self.feed_forward_dropout(branch, training=training)
        return self.layer_norm(self._residual(x) + branch)

    def _residual(self, x):
        return x if self.gains.residual == 1.0 else x * self.gains.residual

    def compute_output_shape(self, x_shape):
        return x_shape

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "num_heads": self.num_heads,
                "intermediate_dim": self.intermediate_dim,
                "variant": self.variant.fields(),
                "gains": asdict(self.gains),
                "norm_after": self.norm_after,
                "text_length": self.text_length,
                "image_length": self.image_length,
                "dropout": self.dropout,
                "attention_dropout": self.attention_dropout,
                "activation_dropout": self.activation_dropout,
                "init_std": self.init_std,
            }
        )
        return config


@keras.saving.register_keras_serializable(package="keras_dalle")
class TextEncoderLayer(_TransformerLayer):
    """Self-attention over the text, then feed-forward.

    Arguments as `_TransformerLayer`.

    Call arguments:
        x_BSD: `[B, S, D]`.
        padding_mask: `[B, S]`, nonzero for real tokens.
        row_stable: multiply each batch entry on its own, see `Dense`.
    """

    def build(self, x_shape):
        self._build_self_attention(
            x_shape,
            self.variant.placement.before_encoder_attention,
            self.text_length,
            sinkhorn_iterations=self.variant.sinkhorn_iterations,
        )
        self._build_feed_forward(x_shape)
        self.built = True

    def call(self, x_BSD, padding_mask, row_stable=False, training=None):
        mask_B11S = padding_mask_to_attention_mask(padding_mask)
        h_BSD = self._before_attention("self_attention", x_BSD)
        h_BSD = self.self_attention(
            h_BSD, h_BSD, mask_B11S, row_stable=row_stable, training=training
        )
        x_BSD = self._after_attention("self_attention", x_BSD, h_BSD, training)
        return self._feed_forward_branch(x_BSD, row_stable, training)


@keras.saving.register_keras_serializable(package="keras_dalle")
class ImageDecoderLayer(_TransformerLayer):
    """Causal self-attention, cross-attention to the text, then feed-forward.

    Arguments as `_TransformerLayer`.

    Call arguments:
        x_BTD: `[B, T, D]`.
        encoder_sequence: `[B, S, D]`, the encoder's output.
        encoder_padding_mask: `[B, S]`, nonzero for real tokens.
    """

    def build(self, x_shape):
        input_norm = self.variant.placement.before_decoder_attention
        self._build_self_attention(x_shape, input_norm, self.image_length)
        self._build_attention(
            "cross_attention",
            x_shape,
            input_norm,
            (self.image_length, self.text_length),
            self.gains.cross_attention_kernel,
        )
        self._build_feed_forward(x_shape)
        self.built = True

    def call(self, x_BTD, encoder_sequence, encoder_padding_mask, training=None):
        index_T = ops.arange(ops.shape(x_BTD)[1])
        causal_TT = index_T[:, None] >= index_T[None, :]
        mask_B11S = padding_mask_to_attention_mask(encoder_padding_mask)
        h_BTD = self._before_attention("self_attention", x_BTD)
        h_BTD = self.self_attention(h_BTD, h_BTD, causal_TT, training=training)
        x_BTD = self._after_attention("self_attention", x_BTD, h_BTD, training)
        h_BTD = self._before_attention("cross_attention", x_BTD)
        h_BTD = self.cross_attention(
            h_BTD, encoder_sequence, mask_B11S, training=training
        )
        x_BTD = self._after_attention("cross_attention", x_BTD, h_BTD, training)
        return self._feed_forward_branch(x_BTD, training=training)

    def decode_step(
        self, x_MD, rows, positions, self_cache, cross_cache, mask_biases, write
    ):
        """The same for a few tokens a row whose predecessors are in a cache.

        Args:
            x_MD: states of W tokens of each row, in a `RowMatrix`.
            rows: that `RowMatrix`.
            positions: pair of int `[R, W]` and, filled for attention, `[R, Q]`: the
                tokens' positions.
            self_cache: pair of `[R, N, L, H]`, the keys and values so far.
            cross_cache: pair of `[R, N, S, H]` from `cross_attention`.
            mask_biases: pair of biases for self- and cross-attention, see
                `Attention.attend_rows`.
            write: `write(cache, new, positions_RW)` -> cache, e.g. `write_everywhere`.

        Returns:
            `(x_MD, self_cache)`.
        """
        positions_RW, positions_RQ = positions
        self_bias, cross_bias = mask_biases
        h_MD = self._before_attention("self_attention", x_MD)
        new = self.self_attention.keys_values_of_rows(h_MD, rows)
        self_cache = tuple(
            write(cache, entries, positions_RW)
            for cache, entries in zip(self_cache, new, strict=True)
        )
        h_MD = self.self_attention.attend_rows(
            h_MD, rows, self_cache, self_bias, positions_RQ
        )
        x_MD = self._after_attention("self_attention", x_MD, h_MD)
        h_MD = self._before_attention("cross_attention", x_MD)
        h_MD = self.cross_attention.attend_rows(
            h_MD, rows, cross_cache, cross_bias, positions_RQ
        )
        x_MD = self._after_attention("cross_attention", x_MD, h_MD)
        return self._feed_forward_branch(x_MD), self_cache
