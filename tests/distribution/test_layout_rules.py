import keras
import pytest

from keras_dalle.distribution.layout_rules import (
    DALLE_BART_ACTIVATIONS,
    DALLE_BART_VARIABLES,
    Rule,
    axes_of_activation,
    axes_of_variable,
    stored_shape,
)
from keras_dalle.models import DalleBartBackbone, DalleBartTextToImage

MESH = {"batch": 4, "model": 8}


def backbone(**kwargs):
    return DalleBartBackbone(
        vocabulary_size=48,
        image_vocabulary_size=63,
        num_encoder_layers=1,
        num_decoder_layers=1,
        num_heads=8,
        hidden_dim=32,
        encoder_intermediate_dim=48,
        decoder_intermediate_dim=48,
        max_text_length=8,
        image_length=16,
        **kwargs,
    )


@pytest.mark.parametrize(
    "path, axes",
    [
        ("text_token_embedding/embeddings", ("model", None)),
        ("image_position_embedding/embeddings", ("model", None)),
        ("decoder_layer_3/cross_attention/query/kernel", (None, "model")),
        ("encoder_layer_0/self_attention/key/kernel", (None, "model")),
        ("encoder_layer_0/self_attention/value/bias", ("model",)),
        ("encoder_layer_0/self_attention/attention_output/kernel", ("model", None)),
        ("encoder_layer_0/self_attention/attention_output/bias", (None,)),
        ("encoder_layer_0/self_attention/position_bias/embeddings", (None, "model")),
        ("encoder_layer_0/self_attention/head_factors/scale", (None,)),
        ("encoder_layer_0/self_attention/heads_norm/gamma", (None,)),
        ("encoder_layer_0/feed_forward/gate/kernel", (None, "model")),
        ("encoder_layer_0/feed_forward/value/kernel", (None, "model")),
        ("encoder_layer_0/feed_forward/intermediate/bias", ("model",)),
        ("encoder_layer_0/feed_forward/inside_norm/beta", (None,)),
        ("encoder_layer_0/feed_forward/feed_forward_output/kernel", ("model", None)),
        ("image_head/kernel", (None, "model")),
        ("encoder_layer_0/self_attention/query/lora_kernel_a", (None, None)),
        ("encoder_layer_0/self_attention/query/lora_kernel_b", (None, "model")),
        (
            "encoder_layer_0/self_attention/attention_output/lora_kernel_a",
            ("model", None),
        ),
    ],
)
def test_axes_are_those_of_mega(path, axes):
    assert axes_of_variable(DALLE_BART_VARIABLES, path, len(axes)) == axes


@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"use_bias": True, "head_scale": True, "relative_position_bias": True},
        {"norm": "rmsnorm", "scale_all_norms": True, "feed_forward": "ffn"},
        {"norm_placement": "swinv2"},
        {"norm_placement": "subln"},
    ],
)
def test_every_variable_of_a_variant_has_a_rule(variant):
    model = DalleBartTextToImage(backbone(variant=variant))
    for variable in model.variables:
        axes = axes_of_variable(
            DALLE_BART_VARIABLES, variable.path, len(variable.shape)
        )
        assert ("model" in axes) == (
            len(variable.shape) == 2
            or variable.path.endswith(
                tuple(f"{name}/bias" for name in ("query", "key", "value", "gate"))
                + ("intermediate/bias",)
            )
        )


def test_every_variable_of_lora_has_a_rule():
    model = backbone()
    model.enable_lora(4)
    for variable in model.variables:
        axes_of_variable(DALLE_BART_VARIABLES, variable.path, len(variable.shape))
    assert any("lora" in v.path for v in model.variables)


def test_a_variable_without_a_rule_is_named():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="odd")])
    with pytest.raises(ValueError, match="odd/kernel'.*none of the"):
        axes_of_variable(DALLE_BART_VARIABLES, model.weights[0].path, 2)


def test_the_first_rule_counts():
    rules = (Rule("a", ("model",)), Rule("a", ()))
    assert axes_of_variable(rules, "a", 1) == ("model",)


def test_a_rule_of_too_many_axes_is_named():
    with pytest.raises(ValueError, match="more axes than dimensions.*'a' of rank 1"):
        axes_of_variable((Rule("a", (None, "model")),), "a", 1)


def test_activations():
    def axes(path, rank):
        return axes_of_activation(DALLE_BART_ACTIVATIONS, path, rank)

    attention = "decoder_layer_0/self_attention"
    assert axes(f"{attention}/weights_dropout", 4) == ("batch", "model", None, None)
    assert axes("image_head", 3) == ("batch", None, "model")
    assert axes("decoder_layer_0", 3) == ("batch", None, None)
    assert axes(f"{attention}_dropout", 3) is None


def test_a_divisible_shape_is_stored_as_it_is():
    assert stored_shape("a", (16, 3), ("model", None), MESH) == (16, 3)


def test_an_indivisible_dimension_names_its_remedies():
    with pytest.raises(ValueError, match=r"16385 .*'model' \(=8\).*pad_to_multiple"):
        stored_shape("head", (1024, 16385), (None, "model"), MESH)


def test_padding_makes_real_mini_divisible():
    assert stored_shape("head", (1024, 16385), (None, "model"), MESH, 8) == (
        1024,
        16392,
    )
    assert stored_shape("ffn", (2730, 1024), ("model", None), MESH, 8) == (2736, 1024)


def test_padding_to_another_multiple_is_refused():
    with pytest.raises(ValueError, match="must be divisible"):
        stored_shape("head", (1024, 16385), (None, "model"), MESH, 4)
