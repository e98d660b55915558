"""Telling the formats of VQGAN folders apart; names of all variables."""

import pytest

from keras_dalle.converters.mapping import model_tensors
from keras_dalle.converters.vqgan import SAVERS, load_vqgan
from keras_dalle.converters.vqgan_names import (
    FLAX_TABLE,
    GUMBEL_TABLE,
    VQMODEL_TABLE,
)
from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone
from tests.converters.tiny_vqgans import assert_same_weights, tiny_vqgan

FORMATS = [
    ("flax", {"value_range": (0.0, 1.0)}),
    ("torch", {"value_range": (-1.0, 1.0)}),
    (
        "torch",
        {"value_range": (-1.0, 1.0), "quantizer": "gumbel", "latent_channels": 5},
    ),
]


@pytest.mark.parametrize(("form", "changes"), FORMATS)
@pytest.mark.parametrize("load", [load_vqgan, VQGANBackbone.from_original])
def test_there_and_back_is_the_identity(tmp_path, form, changes, load):
    vqgan = tiny_vqgan(**changes)
    SAVERS[form](vqgan, tmp_path)
    again = load(tmp_path)
    assert again.get_config() | {"name": ""} == vqgan.get_config() | {"name": ""}
    assert_same_weights(again, vqgan)


def test_folder_of_no_format(tmp_path):
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(FileNotFoundError, match=r"detoker\.pt"):
        load_vqgan(tmp_path)


@pytest.mark.parametrize("quantizer", ["nearest", "gumbel"])
def test_names(quantizer):
    vqgan = tiny_vqgan(quantizer=quantizer)
    table = {"nearest": VQMODEL_TABLE, "gumbel": GUMBEL_TABLE}[quantizer]
    tensors = model_tensors(vqgan, table)
    assert tensors["encoder.down.0.block.0.conv1.weight"].shape == (32, 32, 3, 3)
    assert tensors["decoder.up.0.block.0.nin_shortcut.weight"].shape == (32, 64, 1, 1)
    assert tensors["decoder.mid.attn_1.proj_out.bias"].shape == (64,)
    assert {name.split(".")[0] for name in tensors} == {
        "encoder",
        "decoder",
        "quantize",
        "quant_conv",
        "post_quant_conv",
    }
    assert len(tensors) == len(vqgan.weights)


def test_flax_names():
    tensors = model_tensors(tiny_vqgan(), FLAX_TABLE)
    assert tensors["encoder/down_0/downsample/conv/kernel"].shape == (3, 3, 32, 32)
    assert tensors["decoder/up_1/attn_0/norm/scale"].shape == (64,)
    assert tensors["quantize/embedding/embedding"].shape == (7, 5)
