"""VQGANs in vqgan-jax's format: configurations, both ways, and faults."""

import json

import msgpack
import numpy as np
import pytest

from keras_dalle.converters.flax import open_flax_msgpack, write_flax_msgpack
from keras_dalle.converters.tensors import StoredTensor
from keras_dalle.converters.vqgan_flax import load_flax_vqgan, save_flax_vqgan
from tests.converters.tiny_vqgans import tiny_vqgan
from tests.golden.golden_data import cases

RANGE = (0.0, 1.0)


@pytest.fixture
def folder(tmp_path):
    save_flax_vqgan(tiny_vqgan(value_range=RANGE), tmp_path)
    return tmp_path


def _change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _change_tensors(folder, change):
    path = folder / "flax_model.msgpack"
    arrays = {name: x.read() for name, x in open_flax_msgpack(path).items()}
    change(arrays)
    tensors = {name: StoredTensor.of(array) for name, array in arrays.items()}
    write_flax_msgpack(path, tensors)


@pytest.mark.parametrize("golden", cases("vqgan_flax"), ids=lambda path: path.name)
def test_bytes_of_golden_checkpoints(golden, tmp_path):
    save_flax_vqgan(load_flax_vqgan(golden), tmp_path)
    name = "flax_model.msgpack"
    assert (tmp_path / name).read_bytes() == (golden / name).read_bytes()
    ours, theirs = (
        json.loads((folder / "config.json").read_text())
        for folder in (tmp_path, golden)
    )
    assert ours == {name: theirs[name] for name in ours}
    assert set(theirs) - set(ours) <= {
        "architectures",
        "model_type",
        "transformers_version",
    }


def test_fields_without_effect_are_said(folder):
    _change_config(folder, transformers_version="4.25.1", model_type="vqgan")
    notes = []
    load_flax_vqgan(folder, notes=notes)
    (note,) = notes
    assert "transformers_version='4.25.1'" in note and "model_type='vqgan'" in note


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ch_mul": [1, 2]}, r"'ch_mul' .*Did you mean `ch_mult`\?"),
        ({"double_z": True}, "`double_z` must be False.*Received: True"),
        ({"in_channels": 1}, "`in_channels` must be 3.*Received: 1"),
        ({"num_resolutions": 3}, r"`num_resolutions` \(=3\) must be the number"),
        ({"ch": "32"}, "`ch` must be a positive integer. Received: '32'"),
        ({"n_embed": 0}, "`n_embed` must be a positive integer. Received: 0"),
        ({"ch_mult": 2}, "`ch_mult` must be a list of integers. Received: 2"),
        ({"dropout": "a bit"}, "`dropout` must be a number. Received: 'a bit'"),
    ],
)
def test_faulty_config(folder, change, message):
    _change_config(folder, **change)
    with pytest.raises(ValueError, match=message):
        load_flax_vqgan(folder)


def test_missing_field(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config["z_channels"]
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="z_channels"):
        load_flax_vqgan(folder)


# === Faulty weights ===


def _swap(arrays):
    first, second = "encoder/conv_in/kernel", "decoder/conv_in/kernel"
    arrays[first], arrays[second] = arrays[second], arrays[first]


def _make_integer(arrays):
    arrays["decoder/conv_out/bias"] = np.arange(3)


def _rename(arrays):
    arrays["decoder/conv_out/offset"] = arrays.pop("decoder/conv_out/bias")


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (_swap, ["misshapen (2)", "encoder/conv_in/kernel: expected (3, 3, 3, 32)"]),
        (_make_integer, ["not floating point (1)", "decoder/conv_out/bias: int64"]),
        (_rename, ["missing (1)", "decoder/conv_out/bias", "decoder/conv_out/offset"]),
    ],
)
def test_faulty_weights(folder, change, parts):
    _change_tensors(folder, change)
    with pytest.raises(ValueError) as error:
        load_flax_vqgan(folder)
    for part in (*parts, "flax_model.msgpack"):
        assert part in str(error.value)


def test_truncated_weights(folder):
    path = folder / "flax_model.msgpack"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"flax_model\.msgpack"):
        load_flax_vqgan(folder)


def test_weights_of_another_kind(folder):
    (folder / "flax_model.msgpack").write_bytes(msgpack.packb({"a": "text"}))
    with pytest.raises(ValueError, match=r"flax_model\.msgpack"):
        load_flax_vqgan(folder)


# === What the format cannot hold ===


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value_range": (-1.0, 1.0)}, r"`value_range` must be \(0.0, 1.0\)"),
        ({"quantizer": "gumbel"}, "`quantizer_kind` must be 'nearest'"),
        ({"patch_size": 2}, "`patch_size` must be 1 .*vqgan-jax"),
    ],
)
def test_unsaveable_models(tmp_path, changes, message):
    vqgan = tiny_vqgan(**{"value_range": RANGE, **changes})
    with pytest.raises(ValueError, match=message):
        save_flax_vqgan(vqgan, tmp_path)
    assert not any(tmp_path.iterdir())


def test_what_is_not_stored_is_said(tmp_path):
    notes = []
    vqgan = tiny_vqgan(value_range=RANGE, commitment_weight=0.5)
    save_flax_vqgan(vqgan, tmp_path, notes)
    assert "commitment_weight=0.5" in notes[0]
