"""Feed-forward blocks of DALL·E mini's transformer."""

# B batch, T tokens, D width, F intermediate width

import keras
from keras import ops

from keras_dalle.layers.norms import make_norm, norm_placement
from keras_dalle.layers.row_stable import Dense


@keras.saving.register_keras_serializable(package="keras_dalle")
class GatedFeedForward(keras.layers.Layer):
    """Gated linear unit: `output(norm(gelu(gate(x)) * value(x)))`.

    GEGLU of https://arxiv.org/abs/2002.05202 with the exact GELU, without
    biases, and with the norms of its place in the transformer.

    Args:
        intermediate_dim: width of gate and value, F.
        placement: name of a row of `NORM_PLACEMENTS`.
        kernel_initializer: initializer of the three kernels.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        x_BTD: `[B, T, D]`.
        row_stable: multiply each batch entry on its own, see `Dense`.
    """

    def __init__(
        self,
        intermediate_dim,
        placement="normformer",
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.intermediate_dim = intermediate_dim
        self.placement = placement
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, x_shape):
        norms = norm_placement(self.placement)
        width, inner = x_shape[-1], self.intermediate_dim
        self.input_norm = make_norm(
            norms.before_feed_forward, self.dtype_policy, "input_norm"
        )
        self.inside_norm = make_norm(
            norms.inside_feed_forward, self.dtype_policy, "inside_norm"
        )
        self.gate = self._dense(inner, "gate")
        self.value = self._dense(inner, "value")
        self.feed_forward_output = self._dense(width, "feed_forward_output")
        for layer in (self.input_norm, self.gate, self.value):
            layer.build((None, None, width))
        for layer in (self.inside_norm, self.feed_forward_output):
            layer.build((None, None, inner))
        self.built = True

    def _dense(self, units, name):
        return Dense(
            units,
            kernel_initializer=self.kernel_initializer.clone(),
            dtype=self.dtype_policy,
            name=name,
        )

    def call(self, x_BTD, row_stable=False):
        x_BTD = self.input_norm(x_BTD)
        gate_BTF = self.gate(x_BTD, row_stable=row_stable)
        value_BTF = self.value(x_BTD, row_stable=row_stable)
        x_BTF = self.inside_norm(ops.gelu(gate_BTF, approximate=False) * value_BTF)
        return self.feed_forward_output(x_BTF, row_stable=row_stable)

    def compute_output_shape(self, x_shape):
        return x_shape

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "intermediate_dim": self.intermediate_dim,
                "placement": self.placement,
                "kernel_initializer": keras.initializers.serialize(
                    self.kernel_initializer
                ),
            }
        )
        return config
