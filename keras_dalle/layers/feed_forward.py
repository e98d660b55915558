"""Feed-forward blocks of DALL·E mini's transformers."""

# B batch, T tokens, D width, F intermediate width

import keras

from keras_dalle.layers.activations import ACTIVATIONS
from keras_dalle.layers.row_stable import Dense
from keras_dalle.layers.variant import TransformerVariant


class _FeedForward(keras.layers.Layer):
    """What both blocks share: `output(dropout(norm(inner(norm(x)))))`, then a norm.

    Args:
        intermediate_dim: width inside the block, F.
        variant: a `TransformerVariant` or its fields: activation, biases and norms.
        dropout: rate of the dropout in front of the output.
        kernel_initializer: initializer of the kernels.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        x_BTD: `[B, T, D]`.
        row_stable: multiply each batch entry on its own, see `Dense`.
    """

    def __init__(
        self,
        intermediate_dim,
        variant=None,
        dropout=0.0,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.intermediate_dim = intermediate_dim
        self.variant = TransformerVariant.of(variant)
        self.activation = ACTIVATIONS[self.variant.activation]
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, x_shape):
        width, inner = x_shape[-1], self.intermediate_dim
        placement = self.variant.placement
        self.input_norm = self._norm(placement.before_feed_forward, "input_norm")
        self.inside_norm = self._norm(placement.inside_feed_forward, "inside_norm")
        self.output_norm = self._norm(placement.after_feed_forward, "output_norm")
        self.feed_forward_output = self._dense(width, "feed_forward_output")
        for layer in (self.input_norm, self.output_norm):
            layer.build((None, None, width))
        for layer in (self.inside_norm, self.feed_forward_output):
            layer.build((None, None, inner))
        self.inside_dropout = keras.layers.Dropout(
            self.dropout, dtype=self.dtype_policy, name="inside_dropout"
        )
        self.build_inner((None, None, width))
        self.built = True

    def _norm(self, kind, name):
        return self.variant.make_norm(kind, self.dtype_policy, name)

    def _dense(self, units, name):
        return Dense(
            units,
            use_bias=self.variant.use_bias,
            kernel_initializer=self.kernel_initializer.clone(),
            dtype=self.dtype_policy,
            name=name,
        )

    def call(self, x_BTD, row_stable=False, training=None):
        x_BTF = self.inner(self.input_norm(x_BTD), row_stable)
        x_BTF = self.inside_dropout(self.inside_norm(x_BTF), training=training)
        return self.output_norm(self.feed_forward_output(x_BTF, row_stable=row_stable))

    def compute_output_shape(self, x_shape):
        return x_shape

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "intermediate_dim": self.intermediate_dim,
                "variant": self.variant.fields(),
                "dropout": self.dropout,
                "kernel_initializer": keras.initializers.serialize(
                    self.kernel_initializer
                ),
            }
        )
        return config


@keras.saving.register_keras_serializable(package="keras_dalle")
class GatedFeedForward(_FeedForward):
    """Gated linear unit: inside is `activation(gate(x)) * value(x)`.

    GEGLU and its kin, https://arxiv.org/abs/2002.05202. Arguments as `_FeedForward`.
    """

    def build_inner(self, x_shape):
        self.gate = self._dense(self.intermediate_dim, "gate")
        self.value = self._dense(self.intermediate_dim, "value")
        self.gate.build(x_shape)
        self.value.build(x_shape)

    def inner(self, x_BTD, row_stable):
        gate_BTF = self.gate(x_BTD, row_stable=row_stable)
        return self.activation(gate_BTF) * self.value(x_BTD, row_stable=row_stable)


@keras.saving.register_keras_serializable(package="keras_dalle")
class FeedForward(_FeedForward):
    """Plain block: inside is `activation(intermediate(x))`.

    https://arxiv.org/abs/1706.03762, section 3.3. Arguments as `_FeedForward`.
    """

    def build_inner(self, x_shape):
        self.intermediate = self._dense(self.intermediate_dim, "intermediate")
        self.intermediate.build(x_shape)

    def inner(self, x_BTD, row_stable):
        return self.activation(self.intermediate(x_BTD, row_stable=row_stable))


FEED_FORWARD_BLOCKS = {"glu": GatedFeedForward, "ffn": FeedForward}
