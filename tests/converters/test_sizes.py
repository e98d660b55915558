"""Originals whose configuration and weights do not belong together, or are none."""

import json
import os
import shutil

import numpy as np
import pytest
import torch

from keras_dalle.converters.conversion import read_checkpoint
from keras_dalle.converters.dalle_bart import load_dalle_bart
from keras_dalle.converters.dalle_bart_config import config_from_original
from keras_dalle.converters.flax import open_flax_msgpack, write_flax_msgpack
from keras_dalle.converters.min_dalle import load_min_dalle, save_min_dalle
from keras_dalle.converters.tensors import StoredTensor
from keras_dalle.converters.vqgan_flax import load_flax_vqgan
from keras_dalle.converters.vqgan_min_dalle import (
    load_min_dalle_vqgan,
    save_min_dalle_vqgan,
)
from keras_dalle.converters.vqgan_taming import load_taming_vqgan, save_taming_vqgan
from keras_dalle.models import DalleBartBackbone, VQGANBackbone
from keras_dalle.utils.yaml_files import read_yaml
from tests.converters.tiny_vqgans import tiny_vqgan
from tests.golden.golden_data import cases

CASE = next(case for case in cases("dallebart") if case.name == "mini_noscan")
WEIGHTS = "flax_model.msgpack"


@pytest.fixture(autouse=True)
def nothing_is_built(monkeypatch):
    def build(self, *args, **kwargs):
        raise AssertionError("built")

    def forbid():
        for cls in (DalleBartBackbone, VQGANBackbone):
            monkeypatch.setattr(cls, "__init__", build)

    return forbid


@pytest.fixture
def directory(tmp_path):
    return shutil.copytree(CASE, tmp_path / "checkpoint")


def _set(path, **fields):
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, **fields}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"encoder_layers": 10**7}, "`num_encoder_layers` must be an integer from 1"),
        ({"decoder_layers": 100}, "`num_decoder_layers`: expected 100, received 3"),
        ({"d_model": 40_000}, "`hidden_dim`: expected 40000, received model/"),
        ({"encoder_vocab_size": 10**13}, "`vocabulary_size` must be an integer"),
        ({"encoder_vocab_size": 2**24}, "`vocabulary_size`: expected 16777216"),
        ({"decoder_ffn_dim": 10**5}, "`decoder_intermediate_dim`: expected 100000"),
        ({"max_text_length": 60_000}, "`max_text_length`: expected 60000, received"),
        ({"sinkhorn_iters": 10**9}, "`sinkhorn_iterations` must be an integer from"),
        ({"dropout": float("nan")}, "`dropout` must be a number"),
        ({"tau_init": "1e400", "use_cosine_attention": True}, "`cosine_attention_tau`"),
        ({"encoder_layers": [3]}, "config.json: `encoder_layers` must be a positive"),
        ({"ln_type": {"a": 1}}, "config.json: `ln_type` must be a str"),
        ({"image_vocab_size": "64"}, "config.json"),
    ],
)
def test_flax(directory, nothing_is_built, fields, message):
    _set(directory / "config.json", **fields)
    nothing_is_built()
    with pytest.raises(ValueError, match=message) as error:
        load_dalle_bart(directory)
    assert str(directory) in str(error.value)


@pytest.mark.parametrize("content", ["[]", "3", "null", '{"a": [[[[1]]]]}'])
def test_a_configuration_that_is_none(directory, nothing_is_built, content):
    (directory / "config.json").write_text(content)
    nothing_is_built()
    with pytest.raises(ValueError, match=r"config\.json"):
        load_dalle_bart(directory)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_embed": 2**20}, "`codebook_size`: expected 1048576, received quantize"),
        ({"num_res_blocks": 60}, "`residual blocks`: expected"),
        ({"ch": 2**14}, "at least .* numbers expected, received"),
        ({"resolution": 2**20}, "`image_size` must be an integer from 1 to 8192"),
        ({"z_channels": 2**40}, "`latent_channels` must be an integer"),
        ({"ch_mult": [1] * 40, "num_resolutions": 40}, "`channel_multipliers` must"),
    ],
)
def test_flax_vqgan(tmp_path, nothing_is_built, fields, message):
    folder = shutil.copytree(cases("vqgan_flax")[0], tmp_path / "x")
    _set(folder / "config.json", **fields)
    nothing_is_built()
    with pytest.raises(ValueError, match=message) as error:
        load_flax_vqgan(folder)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n_embed", 9, "`codebook_size`: expected 9, received quantize.embedding"),
        ("embed_dim", 2**16, "`embedding_dim`: expected 65536, received"),
        ("ddconfig", 5, r"config\.yaml: `model.params.ddconfig` must be a mapping"),
    ],
)
def test_taming_vqgan(tmp_path, nothing_is_built, name, value, message):
    save_taming_vqgan(tiny_vqgan(), tmp_path)
    config = read_yaml(tmp_path / "config.yaml")
    config["model"]["params"][name] = value
    # JSON is YAML too.
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    nothing_is_built()
    with pytest.raises(ValueError, match=message):
        load_taming_vqgan(tmp_path)


def _min_dalle(folder):
    backbone = DalleBartBackbone(50, 16, 1, 1, 1, 16, 16, 16, 16, 256)
    save_min_dalle(backbone, folder)


def test_min_dalle_with_layers_of_nothing(tmp_path, nothing_is_built):
    _min_dalle(tmp_path)
    content = torch.load(tmp_path / "encoder.pt", weights_only=True)
    for i in range(250):
        content[f"layers.{i}.x"] = torch.zeros(1)
    torch.save(content, tmp_path / "encoder.pt")
    nothing_is_built()
    with pytest.raises(ValueError, match="at least .* numbers expected, received"):
        load_min_dalle(tmp_path)
    for i in range(250, 1000):
        content[f"layers.{i}.x"] = torch.zeros(1)
    torch.save(content, tmp_path / "encoder.pt")
    with pytest.raises(ValueError, match="`num_encoder_layers` must be an integer"):
        load_min_dalle(tmp_path)


def test_min_dalle_vqgan_with_blocks_of_nothing(tmp_path, nothing_is_built):
    save_min_dalle_vqgan(tiny_vqgan(image_size=32, value_range=(0.0, 1.0)), tmp_path)
    content = torch.load(tmp_path / "detoker.pt", weights_only=True)
    content["decoder.up.0.block.99999999999.x"] = torch.zeros(1)
    torch.save(content, tmp_path / "detoker.pt")
    nothing_is_built()
    with pytest.raises(ValueError, match="`num_res_blocks` must be an integer from"):
        load_min_dalle_vqgan(tmp_path)


# === Numbers that are none ===


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_weights_that_are_no_numbers(directory, value):
    tensors = dict(open_flax_msgpack(directory / WEIGHTS))
    name = "model/decoder/embed_tokens/embedding"
    array = tensors[name].read().copy()
    array[3, 4] = value
    tensors[name] = StoredTensor.of(array)
    write_flax_msgpack(directory / WEIGHTS, tensors)
    with pytest.raises(ValueError, match=f"NaN or an infinity in {name}"):
        load_dalle_bart(directory)


def test_weights_that_the_dtype_does_not_hold(directory):
    tensors = dict(open_flax_msgpack(directory / WEIGHTS))
    array = tensors["lm_head/kernel"].read() + np.float32(1e6)
    tensors["lm_head/kernel"] = StoredTensor.of(array)
    write_flax_msgpack(directory / WEIGHTS, tensors)
    assert load_dalle_bart(directory).image_vocabulary_size
    with pytest.raises(ValueError, match="float16 must be within.*lm_head/kernel"):
        load_dalle_bart(directory, dtype="float16")


# === The original's own configurations ===

# What the repository of DALL·E mini trains with, as far as it differs.
ORIGINALS = {
    "mini": {"image_vocab_size": 16391},
    "mini_glu": {
        "encoder_vocab_size": 50300,
        "encoder_ffn_dim": 2730,
        "decoder_ffn_dim": 2730,
        "image_vocab_size": 16400,
        "use_scan": False,
    },
    "micro": {
        "d_model": 256,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 256,
        "decoder_ffn_dim": 256,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
    },
    "mega": {
        "d_model": 2048,
        "encoder_attention_heads": 32,
        "decoder_attention_heads": 32,
        "encoder_layers": 24,
        "decoder_layers": 24,
        "encoder_vocab_size": 50272,
        "image_vocab_size": 16415,
        "init_std": 0.01,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        "do_sample": True,
        "force_ln_scale": False,
        "ln_positions": "normformer",
        "ln_type": "layernorm",
        "max_length": 257,
        "min_length": 257,
        "sinkhorn_iters": 1,
        "tau_init": 0.05,
        "use_absolute_position_embeddings": True,
        "use_alibi": False,
        "use_bias": False,
        "use_cosine_attention": False,
        "use_deepnet_scaling": False,
        "use_final_ln_decoder": True,
        "use_final_ln_encoder": True,
        "use_glu": True,
        "use_head_scale": False,
        "use_swin_position_embeddings": False,
    },
}
COMMON = {
    "activation_dropout": 0.0,
    "activation_function": "gelu",
    "attention_dropout": 0.0,
    "bos_token_id": 16385,
    "d_model": 1024,
    "decoder_attention_heads": 16,
    "decoder_ffn_dim": 4096,
    "decoder_layers": 12,
    "decoder_start_token_id": 16384,
    "dropout": 0.0,
    "encoder_attention_heads": 16,
    "encoder_ffn_dim": 4096,
    "encoder_layers": 12,
    "encoder_vocab_size": 50264,
    "eos_token_id": 16385,
    "gradient_checkpointing": False,
    "image_length": 256,
    "image_vocab_size": 16391,
    "init_std": 0.02,
    "is_encoder_decoder": True,
    "max_text_length": 64,
    "model_type": "dallebart",
    "normalize_text": True,
    "pad_token_id": 16385,
    "scale_embedding": False,
    "tie_word_embeddings": False,
    "use_cache": True,
}


@pytest.mark.parametrize("changes", ORIGINALS.values(), ids=ORIGINALS)
def test_the_original_s_configurations_are_read(changes):
    notes = []
    arguments = config_from_original({**COMMON, **changes}, notes)
    assert arguments["num_decoder_layers"] == {**COMMON, **changes}["decoder_layers"]
    if "decoder_layerdrop" in changes:
        assert "decoder_layerdrop=0.0" in "".join(notes)


def test_a_folder_that_is_a_pipe_s(directory):
    """Goes the way of the command, which first finds the format."""
    shutil.move(directory / WEIGHTS, directory / "kept")
    os.mkfifo(directory / WEIGHTS)
    with pytest.raises(ValueError, match=f"{WEIGHTS} must be a regular file"):
        read_checkpoint(directory)
