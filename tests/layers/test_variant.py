"""Choices of an architecture, and the gains of deep ones."""

import math

import pytest

from keras_dalle.layers.variant import BranchGains, TransformerVariant, branch_gains


def test_default_is_dalle_mini():
    variant = TransformerVariant.of(None)
    assert variant.norm_placement == "normformer"
    assert variant.feed_forward == "glu"
    assert TransformerVariant.of(variant) is variant
    assert TransformerVariant.of(variant.fields()) == variant


@pytest.mark.parametrize(
    "fields",
    [
        {"norm": "batchnorm"},
        {"norm_placement": "sideways"},
        {"feed_forward": "moe"},
        {"activation": "tanh"},
        {"sinkhorn_iterations": 0},
        {"cosine_attention_tau": 0.0},
    ],
)
def test_bad_values_are_named(fields):
    ((name, value),) = fields.items()
    with pytest.raises(ValueError, match=f"`{name}`.*{value}"):
        TransformerVariant(**fields)


def test_norm_after_the_last_layer_may_lack_a_scale():
    variant = TransformerVariant(norm_placement="postln", scale_last_norm=False)
    assert [variant.norm_after_layer(i, 3) for i in range(3)] == [
        "scaled",
        "scaled",
        "unscaled",
    ]


def test_gains_of_deepnet():
    # N encoder and M decoder layers: table 1 of https://arxiv.org/abs/2203.00555.
    encoder, decoder = branch_gains(TransformerVariant(deepnet_scaling=True), 12, 6)
    depth = (12**4 * 6) ** (1 / 16)
    assert encoder.residual == pytest.approx(0.81 * depth)
    assert encoder.kernel == pytest.approx(0.87 / depth)
    assert decoder.residual == pytest.approx(18**0.25)
    assert decoder.cross_attention_kernel == pytest.approx(72**-0.25)


def test_gains_of_subln():
    variant = TransformerVariant(subln_initialization=True)
    encoder, decoder = branch_gains(variant, 12, 6)
    expected = math.sqrt(math.log(18) * math.log(24) / 3)
    assert encoder.kernel == pytest.approx(expected)
    assert decoder == BranchGains(kernel=math.sqrt(math.log(18)))


def test_no_gains_by_default():
    assert branch_gains(TransformerVariant(), 2, 2) == (BranchGains(), BranchGains())
