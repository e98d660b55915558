"""Norms of DALL·E mini's transformers and the table of their placements.

A norm in front of a dense layer has no scale, since the dense layer can learn it,
unless the variant asks for it. Every placement of the original is a row of
`NORM_PLACEMENTS`; `None` stands for "no norm here".
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import ops

EPSILON = 1e-5

SCALED = "scaled"
UNSCALED = "unscaled"


@keras.saving.register_keras_serializable(package="keras_dalle")
class RMSNorm(keras.layers.Layer):
    """Divides by the root mean square (https://arxiv.org/abs/1910.07467).

    `keras.layers.RMSNormalization` always has a scale; here it is a choice.

    Args:
        epsilon: float. Added to the mean square.
        scale: bool. Whether the result is multiplied by a learned vector.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, epsilon=EPSILON, scale=True, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.scale = scale

    def build(self, input_shape):
        if self.scale:
            self.gamma = self.add_weight(
                shape=(input_shape[-1],), initializer="ones", name="gamma"
            )
        self.built = True

    def call(self, inputs):
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        factor = ops.rsqrt(
            ops.mean(ops.square(x), axis=-1, keepdims=True) + self.epsilon
        )
        if self.scale:
            factor = factor * ops.cast(self.gamma, x.dtype)
        return ops.cast(factor * x, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        config = super().get_config()
        config.update({"epsilon": self.epsilon, "scale": self.scale})
        return config


NORMS: dict[str, Callable[..., keras.layers.Layer]] = {
    "layernorm": keras.layers.LayerNormalization,
    "rmsnorm": RMSNorm,
}


def make_norm(
    kind: str | None,
    norm: str = "layernorm",
    scale_all: bool = False,
    dtype=None,
    name: str | None = None,
) -> keras.layers.Layer:
    """Builds the norm for a place.

    Args:
        kind: `"scaled"`, `"unscaled"`, or `None` for a layer that changes nothing.
        norm: a key of `NORMS`.
        scale_all: whether an `"unscaled"` norm has a scale all the same.
        dtype: dtype policy of the layer.
        name: name of the layer.
    """
    if kind is None:
        return keras.layers.Identity(dtype=dtype, name=name)
    has_scale = kind == SCALED or scale_all
    return NORMS[norm](epsilon=EPSILON, scale=has_scale, dtype=dtype, name=name)


# === Placements ===


def _never(index: int, num_layers: int) -> bool:
    return False


def _after_every_layer(index: int, num_layers: int) -> bool:
    return True


def _after_every_sixth_but_the_last(index: int, num_layers: int) -> bool:
    return (index + 1) % 6 == 0 and index != num_layers - 1


@dataclass(frozen=True)
class NormPlacement:
    """Which kind of norm stands where in a transformer.

    Attributes:
        before_encoder_attention: in front of the encoder's attention.
        before_decoder_attention: in front of both of the decoder's attentions.
        within_self_attention: between the heads and the output projection.
        after_attention: on the branch, before it is added to the residual.
        after_attention_sum: on the sum of branch and residual.
        before_feed_forward: in front of the feed-forward block's first dense layer.
        inside_feed_forward: in front of its last dense layer.
        after_feed_forward: on its output.
        after_layer: `(index, num_layers) -> bool`, after which layers one stands.
        at_the_end: after the last layer of encoder or decoder.
    """

    before_encoder_attention: str | None = None
    before_decoder_attention: str | None = None
    within_self_attention: str | None = None
    after_attention: str | None = None
    after_attention_sum: str | None = None
    before_feed_forward: str | None = None
    inside_feed_forward: str | None = None
    after_feed_forward: str | None = None
    after_layer: Callable[[int, int], bool] = _never
    at_the_end: str | None = UNSCALED


_POST_LN = NormPlacement(
    after_attention_sum=SCALED, after_layer=_after_every_layer, at_the_end=None
)

NORM_PLACEMENTS = {
    # NormFormer, https://arxiv.org/abs/2110.09456
    "normformer": NormPlacement(
        before_encoder_attention=UNSCALED,
        before_decoder_attention=UNSCALED,
        after_attention=SCALED,
        before_feed_forward=UNSCALED,
        inside_feed_forward=UNSCALED,
    ),
    # Swin Transformer V2, https://arxiv.org/abs/2111.09883
    "swinv2": NormPlacement(
        after_attention=SCALED,
        after_feed_forward=SCALED,
        after_layer=_after_every_sixth_but_the_last,
    ),
    # CogView, https://arxiv.org/abs/2105.13290
    "cogview": NormPlacement(
        before_encoder_attention=UNSCALED,
        before_decoder_attention=UNSCALED,
        after_attention=SCALED,
        before_feed_forward=UNSCALED,
        after_feed_forward=SCALED,
    ),
    # On Layer Normalization in the Transformer Architecture,
    # https://arxiv.org/abs/2002.04745
    "preln": NormPlacement(
        before_encoder_attention=UNSCALED,
        before_decoder_attention=UNSCALED,
        before_feed_forward=UNSCALED,
    ),
    # Attention Is All You Need, https://arxiv.org/abs/1706.03762
    "postln": _POST_LN,
    # DeepNet, https://arxiv.org/abs/2203.00555
    "deepnet": _POST_LN,
    # Foundation Transformers, https://arxiv.org/abs/2210.06423, but without norms in
    # front of the decoder's attentions, as DALL·E mini has it.
    "subln": NormPlacement(
        before_encoder_attention=UNSCALED,
        within_self_attention=SCALED,
        before_feed_forward=UNSCALED,
        inside_feed_forward=UNSCALED,
    ),
}
