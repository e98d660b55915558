"""Original configurations and directories: what is refused, and how."""

import json
import shutil

import pytest

from keras_dalle.converters.dalle_bart import config_from_original, load_dalle_bart
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
        "init_std": 0.02,
    }


def test_absent_flags_mean_the_original_defaults(config):
    for flag in ("use_glu", "ln_positions", "sinkhorn_iters", "use_scan"):
        del config[flag]
    assert config_from_original(config)["num_heads"] == 4


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("ln_positions", "postln"),
        ("ln_type", "rmsnorm"),
        ("use_glu", False),
        ("use_bias", True),
        ("activation_function", "relu"),
        ("tie_word_embeddings", True),
        ("use_final_ln_decoder", False),
    ],
)
def test_unsupported_variant(config, flag, value):
    config[flag] = value
    with pytest.raises(ValueError, match=f"`{flag}` must be one of .*{value!r}"):
        config_from_original(config)


def test_unknown_field(config):
    config["use_gluu"] = True
    with pytest.raises(ValueError, match="`use_gluu`.*Did you mean `use_glu`"):
        config_from_original(config)


def test_missing_field(config):
    del config["d_model"]
    with pytest.raises(ValueError, match=r"must have the fields \['d_model'\]"):
        config_from_original(config)


def test_unequal_heads(config):
    config["decoder_attention_heads"] = 2
    with pytest.raises(ValueError, match="must be equal. Received: 4 and 2"):
        config_from_original(config)


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
    config["image_vocab_size"] = 63
    (directory / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError) as error:
        load_dalle_bart(directory)
    text = str(error.value)
    assert "FlaxBartDecoderLayer_3/GLU_0/Dense_2/kernel" in text
    assert "lm_head/kernel: expected (32, 64), received (32, 65)" in text
