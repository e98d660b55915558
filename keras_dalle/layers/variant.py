"""The choices that tell one transformer of DALL·E mini's family from another."""

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from keras_dalle.layers.activations import ACTIVATIONS
from keras_dalle.layers.norms import (
    NORM_PLACEMENTS,
    NORMS,
    SCALED,
    UNSCALED,
    NormPlacement,
    make_norm,
)

FEED_FORWARDS = ("glu", "ffn")


@dataclass(frozen=True)
class TransformerVariant:
    """The architecture of a `DalleBartBackbone`; the defaults are DALL·E mini's.

    Attributes:
        norm: `"layernorm"` or `"rmsnorm"`.
        norm_placement: `"normformer"`, `"swinv2"`, `"cogview"`, `"preln"`,
            `"postln"`, `"deepnet"` (the same as postln) or `"subln"`.
        scale_all_norms: also norms in front of dense layers have a scale.
        scale_last_norm: whether postln's very last norm has a scale; the original
            leaves it out where it stores layers one by one.
        final_encoder_norm, final_decoder_norm: norms after the last layers; postln
            has none there in any case.
        feed_forward: `"glu"` (gated) or `"ffn"`.
        activation: of the feed-forward blocks: `"gelu"` (exact), `"gelu_new"`,
            `"quick_gelu"`, `"relu"`, `"silu"` or `"swish"`, or `"smelu"`.
        use_bias: biases in attention and feed-forward blocks; the head has none.
        head_scale: a learned factor for each attention head (NormFormer).
        cosine_attention_tau: logits are the cosine of query and key divided by this
            constant (Swin V2); `None` for the scaled dot product.
        sinkhorn_iterations: above 1, the encoder's attention weights are normalized
            over keys and queries in turns (Sinkformer,
            https://arxiv.org/abs/2110.11773).
        absolute_positions: learned position embeddings.
        relative_position_bias: a learned bias for each head, query and key position.
        scale_embedding: token embeddings are multiplied by the root of the width.
        deepnet_scaling: residuals and initial kernels are scaled as in DeepNet
            (https://arxiv.org/abs/2203.00555, table 1).
        subln_initialization: initial kernels are scaled as in Foundation
            Transformers (https://arxiv.org/abs/2210.06423, table 3).

    Raises:
        ValueError: a name that is not in its table, or a number out of range.
    """

    norm: str = "layernorm"
    norm_placement: str = "normformer"
    scale_all_norms: bool = False
    scale_last_norm: bool = True
    final_encoder_norm: bool = True
    final_decoder_norm: bool = True
    feed_forward: str = "glu"
    activation: str = "gelu"
    use_bias: bool = False
    head_scale: bool = False
    cosine_attention_tau: float | None = None
    sinkhorn_iterations: int = 1
    absolute_positions: bool = True
    relative_position_bias: bool = False
    scale_embedding: bool = False
    deepnet_scaling: bool = False
    subln_initialization: bool = False

    def __post_init__(self):
        choices: dict[str, Collection[str]] = {
            "norm": NORMS,
            "norm_placement": NORM_PLACEMENTS,
            "feed_forward": FEED_FORWARDS,
            "activation": ACTIVATIONS,
        }
        for name, known in choices.items():
            value = getattr(self, name)
            if value not in known:
                raise ValueError(
                    f"`{name}` must be one of {sorted(known)}. Received: "
                    f"{name}={value!r}"
                )
        if self.sinkhorn_iterations < 1:
            raise ValueError(
                f"`sinkhorn_iterations` (={self.sinkhorn_iterations}) must be at least "
                "1, which is plain softmax."
            )
        tau = self.cosine_attention_tau
        if tau is not None and tau <= 0:
            raise ValueError(
                f"`cosine_attention_tau` (={tau}) must be above 0, or None for the "
                "scaled dot product."
            )

    @classmethod
    def of(cls, variant: "TransformerVariant | Mapping[str, Any] | None"):
        """A variant from itself, from its fields, or the default from `None`."""
        if variant is None:
            return cls()
        return variant if isinstance(variant, TransformerVariant) else cls(**variant)

    def fields(self) -> dict[str, Any]:
        """The fields as plain values, for a configuration."""
        return asdict(self)

    @property
    def placement(self) -> NormPlacement:
        """Where its norms stand."""
        return NORM_PLACEMENTS[self.norm_placement]

    def make_norm(self, kind: str | None, dtype=None, name: str | None = None):
        """Builds a norm of a kind, see `keras_dalle.layers.norms.make_norm`."""
        return make_norm(kind, self.norm, self.scale_all_norms, dtype, name)

    def norm_after_layer(self, index: int, num_layers: int) -> str | None:
        """The kind of the norm after layer `index` of `num_layers`."""
        if not self.placement.after_layer(index, num_layers):
            return None
        is_last = index == num_layers - 1
        return UNSCALED if is_last and not self.scale_last_norm else SCALED


@dataclass(frozen=True)
class BranchGains:
    """Factors of a layer's residual and of its initial kernels.

    Attributes:
        residual: of the residual that a branch is added to.
        kernel: of value and output kernels of self-attention and of the kernels of the
            feed-forward block, when they are initialized.
        cross_attention_kernel: the same for cross-attention.
    """

    residual: float = 1.0
    kernel: float = 1.0
    cross_attention_kernel: float = 1.0


def branch_gains(
    variant: TransformerVariant, num_encoder_layers: int, num_decoder_layers: int
) -> tuple[BranchGains, BranchGains]:
    """Gains of the encoder's and of the decoder's layers.

    The formulas are those of encoder-decoder models in DeepNet (table 1) and in
    Foundation Transformers (table 3). Where both are on, DeepNet's hold.
    """
    n, m = num_encoder_layers, num_decoder_layers
    if variant.deepnet_scaling:
        depth = (n**4 * m) ** (1 / 16)
        beta = 0.87 / depth
        decoder_beta = (12 * m) ** -0.25
        return (
            BranchGains(0.81 * depth, beta, beta),
            BranchGains((3 * m) ** 0.25, decoder_beta, decoder_beta),
        )
    if variant.subln_initialization:
        decoder_gain = math.sqrt(math.log(3 * m))
        encoder_gain = math.sqrt(math.log(3 * m) * math.log(2 * n) / 3)
        return BranchGains(kernel=encoder_gain), BranchGains(kernel=decoder_gain)
    return BranchGains(), BranchGains()
