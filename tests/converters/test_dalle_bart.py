"""Original configurations and directories: what is refused, and how."""

import json
import shutil

import numpy as np
import pytest

from keras_dalle.converters.dalle_bart import load_dalle_bart, unstack_layers
from keras_dalle.converters.dalle_bart_config import config_from_original
from keras_dalle.converters.tensors import StoredTensor
from keras_dalle.layers.variant import TransformerVariant
from tests.golden.golden_data import ROOT

MINI = ROOT / "dallebart" / "mini"


@pytest.fixture
def config():
    return json.loads((MINI / "config.json").read_text())


@pytest.fixture
def directory(tmp_path):
    return shutil.copytree(MINI, tmp_path / "checkpoint")


def test_arguments(config):
    assert config_from_original(config) == {
        "vocabulary_size": 100,
        "image_vocabulary_size": 64,
        "num_encoder_layers": 2,
        "num_decoder_layers": 3,
        "num_heads": 4,
        "hidden_dim": 32,
        "encoder_intermediate_dim": 40,
        "decoder_intermediate_dim": 44,
        "max_text_length": 12,
        "image_length": 16,
        "decoder_start_token_id": 64,
        "dropout": 0.0,
        "activation_dropout": 0.0,
        "init_std": 0.02,
        "num_decoder_heads": 4,
        "variant": TransformerVariant(),
    }


def test_absent_flags_mean_the_original_defaults(config):
    for flag in ("use_glu", "ln_positions", "sinkhorn_iters", "use_scan"):
        del config[flag]
    assert config_from_original(config)["num_heads"] == 4


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ln_positions": "subln"}, {"norm_placement": "subln"}),
        ({"ln_type": "rmsnorm"}, {"norm": "rmsnorm"}),
        ({"use_glu": False}, {"feed_forward": "ffn"}),
        ({"use_cosine_attention": True}, {"cosine_attention_tau": 0.05}),
        (
            {"use_cosine_attention": True, "tau_init": 0.1},
            {"cosine_attention_tau": 0.1},
        ),
        ({"tau_init": 0.1}, {}),
        (
            {"ln_positions": "postln", "use_scan": False},
            {"norm_placement": "postln", "scale_last_norm": False},
        ),
        ({"ln_positions": "deepnet"}, {"norm_placement": "deepnet"}),
    ],
)
def test_variants(config, fields, expected):
    variant = config_from_original({**config, **fields})["variant"]
    assert variant == TransformerVariant(**expected)


@pytest.mark.parametrize("flag", ["tie_word_embeddings", "use_alibi"])
def test_what_the_original_never_ran_is_refused_by_name(config, flag):
    config[flag] = True
    with pytest.raises(ValueError, match=f"`{flag}` must be False.*Received: True"):
        config_from_original(config)


@pytest.mark.parametrize(
    ("flag", "value", "name"),
    [
        ("ln_positions", "sideways", "norm_placement"),
        ("activation_function", "tanh", "activation"),
        ("sinkhorn_iters", 0, "sinkhorn_iterations"),
    ],
)
def test_unknown_variant(config, flag, value, name):
    config[flag] = value
    with pytest.raises(ValueError, match=f"`{name}`.*{value}"):
        config_from_original(config)


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("d_model", "64", "must be a positive integer"),
        ("encoder_layers", None, "must be a positive integer"),
        ("encoder_attention_heads", 0, "must be a positive integer"),
        ("max_text_length", [64], "must be a positive integer"),
        ("dropout", None, "must be a number"),
        ("ln_type", ["rmsnorm"], "must be a str"),
        ("use_bias", "yes", "must be a bool"),
        ("sinkhorn_iters", None, "must be a int"),
        ("decoder_start_token_id", -5, "must be an integer from 0"),
        ("decoder_start_token_id", 65, "must be an integer from 0"),
    ],
)
def test_wrong_kind_of_value(config, field, value, rule):
    with pytest.raises(ValueError, match=f"`{field}` {rule}"):
        config_from_original({**config, field: value})


def test_fields_without_effect_are_said(config):
    notes = []
    config_from_original({**config, "attention_dropout": 0.1}, notes)
    text = " ".join(notes)
    assert "Without effect here" in text
    assert f"gradient_checkpointing={config['gradient_checkpointing']}" in text
    assert "attention_dropout=0.1 never acts in the original" in text


def test_unknown_field(config):
    config["use_gluu"] = True
    with pytest.raises(ValueError, match="'use_gluu'.*Did you mean `use_glu`"):
        config_from_original(config)


def test_missing_field(config):
    del config["d_model"]
    with pytest.raises(ValueError, match=r"must have the fields \['d_model'\]"):
        config_from_original(config)


def test_unequal_heads(config):
    config["decoder_attention_heads"] = 2
    arguments = config_from_original(config)
    assert (arguments["num_heads"], arguments["num_decoder_heads"]) == (4, 2)


def test_arguments_can_be_overridden(directory):
    backbone = load_dalle_bart(directory, dropout=0.1, dtype="mixed_bfloat16")
    assert backbone.dropout == 0.1
    assert backbone.compute_dtype == "bfloat16"


@pytest.mark.parametrize("name", ["config.json", "flax_model.msgpack"])
def test_missing_file(directory, name):
    (directory / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"Missing: .*{name}"):
        load_dalle_bart(directory)


@pytest.mark.parametrize("name", ["config.json", "flax_model.msgpack"])
def test_truncated_file(directory, name):
    content = (directory / name).read_bytes()
    (directory / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=name):
        load_dalle_bart(directory)


def test_weights_of_another_configuration(directory, config):
    config["decoder_layers"] = 4
    config["image_vocab_size"] = config["decoder_start_token_id"] = 63
    (directory / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError) as error:
        load_dalle_bart(directory)
    text = str(error.value)
    assert "`num_decoder_layers`: expected 4, received 3" in text
    assert "`image_vocabulary_size`: expected 63, received model/decoder/emb" in text


def test_a_huge_first_axis_is_not_one_of_layers():
    # Of a few bytes in a file, it must not become millions of tensors.
    empty = StoredTensor((2**40, 0), np.dtype("float32"), lambda: np.empty((0,)))
    name = "model/encoder/layers/FlaxBartEncoderLayers/x"
    assert list(unstack_layers({name: empty})) == [name]
