"""min-dalle's detoker.pt: a VQGAN's decoder under min-dalle's names."""

import numpy as np
import pytest
import torch

from keras_dalle.converters.vqgan_flax import load_flax_vqgan
from keras_dalle.converters.vqgan_min_dalle import (
    load_min_dalle_vqgan,
    save_min_dalle_vqgan,
)
from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone
from tests.converters.tiny_vqgans import tiny_vqgan
from tests.golden.golden_data import cases

# min-dalle's grid has 16 positions a side.
CHANGES = {
    "image_size": 32,
    "attention_resolutions": (16,),
    "value_range": (0.0, 1.0),
}


@pytest.fixture
def folder(tmp_path):
    save_min_dalle_vqgan(tiny_vqgan(**CHANGES), tmp_path)
    return tmp_path


def _tokens(vqgan):
    generator = np.random.default_rng(0)
    return generator.integers(0, vqgan.codebook_size, (2, 256)).astype("int32")


@pytest.mark.parametrize("golden", cases("vqgan_flax"), ids=lambda path: path.name)
def test_pictures_of_golden_decoders(golden, tmp_path):
    # The golden models' weights on min-dalle's grid, with attention at the same levels.
    model = load_flax_vqgan(golden, load_weights=False)
    growth = 16 // model.grid_size
    whole = load_flax_vqgan(
        golden,
        image_size=model.image_size * growth,
        attention_resolutions=[x * growth for x in model.attention_resolutions],
    )
    save_min_dalle_vqgan(whole, tmp_path)
    decoder = load_min_dalle_vqgan(tmp_path)
    assert decoder.value_range == (0.0, 1.0)
    tokens = _tokens(whole)
    np.testing.assert_array_equal(decoder.decode(tokens), whole.decode(tokens))
    np.testing.assert_array_equal(
        decoder.decode_images(tokens), whole.decode_images(tokens)
    )


def test_written_names(folder):
    tensors = torch.load(folder / "detoker.pt", weights_only=True)
    assert tensors["embedding.weight"].shape == (7, 5)
    assert tensors["post_quant_conv.weight"].shape == (6, 5, 1, 1)
    assert tensors["decoder.up.0.block.0.nin_shortcut.weight"].shape == (32, 64, 1, 1)
    assert tensors["decoder.up.1.upsample.conv.bias"].shape == (64,)
    assert {name.split(".")[0] for name in tensors} == {
        "decoder",
        "embedding",
        "post_quant_conv",
    }


def test_there_and_back_is_the_identity(folder, tmp_path):
    before = (folder / "detoker.pt").read_bytes()
    save_min_dalle_vqgan(load_min_dalle_vqgan(folder), tmp_path)
    assert (tmp_path / "detoker.pt").read_bytes() == before


def test_what_is_lacking_is_said(tmp_path):
    notes = []
    save_min_dalle_vqgan(tiny_vqgan(**CHANGES), tmp_path, notes)
    assert "encoder is left out" in notes[0]
    notes.clear()
    load_min_dalle_vqgan(tmp_path, notes=notes)
    assert "cannot encode" in notes[0]


def test_decoder_alone(folder, tmp_path):
    decoder = VQGANBackbone.from_original(folder)
    assert decoder.grid_size == 16
    tokens = _tokens(decoder)
    pictures = decoder(tokens)["reconstruction"]
    np.testing.assert_array_equal(pictures, decoder.decode(tokens))
    with pytest.raises(ValueError, match="Encoding needs a VQGAN with an encoder"):
        decoder.encode_images(np.zeros((1, 32, 32, 3), "uint8"))
    decoder.save_to_preset(str(tmp_path / "preset"))
    again = VQGANBackbone.from_preset(str(tmp_path / "preset"))
    assert again.get_config() == decoder.get_config()
    np.testing.assert_array_equal(again.decode(tokens), decoder.decode(tokens))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("embedding.weight", None, "`embedding.weight` with 2 axes. Received: no such"),
        ("embedding.weight", torch.ones(3), r"with 2 axes. Received: the shape \(3,\)"),
        ("decoder.up.1.block.0.conv1.weight", None, "`decoder.up.1.block.0.conv1.we"),
        ("decoder.conv_out.bias", None, r"missing \(1\):\s+decoder.conv_out.bias"),
        ("decoder.conv_out.bias", torch.ones(4), r"misshapen \(1\):\s+decoder.conv_ou"),
        ("encoder.conv_in.bias", torch.ones(4), r"unexpected \(1\):\s+encoder.conv_in"),
    ],
)
def test_faulty_weights(folder, name, value, message):
    path = folder / "detoker.pt"
    tensors = torch.load(path, weights_only=True)
    tensors.pop(name, None)
    if value is not None:
        tensors[name] = value
    torch.save(tensors, path)
    with pytest.raises(ValueError, match=message):
        load_min_dalle_vqgan(folder)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"detoker\.pt"):
        load_min_dalle_vqgan(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 16, "attention_resolutions": ()}, "`grid_size` must be 16"),
        ({"value_range": (-1.0, 1.0)}, "`value_range` must be"),
        ({"quantizer": "gumbel"}, "`quantizer_kind` must be 'nearest' or None"),
    ],
)
def test_unsaveable_models(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        save_min_dalle_vqgan(tiny_vqgan(**{**CHANGES, **changes}), tmp_path)
