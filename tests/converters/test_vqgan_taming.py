"""VQGANs of taming-transformers: folders, yaml, both ways, and faults."""

import os

import numpy as np
import pytest
import torch
import yaml

from keras_dalle.converters.taming_folder import find_taming_files
from keras_dalle.converters.torch import open_torch_checkpoint
from keras_dalle.converters.vqgan_taming import load_taming_vqgan, save_taming_vqgan
from keras_dalle.converters.vqgan_taming_config import (
    config_from_taming,
    gumbel_temperature_from_taming,
)
from keras_dalle.utils.yaml_files import read_yaml
from tests.converters.tiny_vqgans import assert_same_weights, tiny_vqgan
from tests.golden.golden_data import ROOT

GOLDEN = sorted(path.parent for path in (ROOT / "vqgan_torch").glob("*/config.yaml"))


@pytest.fixture
def folder(tmp_path):
    save_taming_vqgan(tiny_vqgan(), tmp_path)
    return tmp_path


def _change_config(folder, change):
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config))


def _change_tensors(folder, change):
    path = folder / "last.ckpt"
    content = torch.load(path, weights_only=True)
    change(content["state_dict"])
    torch.save(content, path)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.name)
def test_tensors_of_golden_checkpoints(golden, tmp_path):
    save_taming_vqgan(load_taming_vqgan(golden), tmp_path)
    ours, theirs = (
        open_torch_checkpoint(find_taming_files(folder)[1])
        for folder in (tmp_path, golden)
    )
    assert set(theirs) - set(ours) == {x for x in theirs if x.startswith("loss.")}
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype
        assert tensor.shape == theirs[name].shape
        assert tensor.read().tobytes() == theirs[name].read().tobytes(), name
    params, golden_params = (
        read_yaml(find_taming_files(folder)[0])["model"]["params"]
        for folder in (tmp_path, golden)
    )
    for field, value in params["ddconfig"].items():
        assert golden_params["ddconfig"].get(field, value) == value
    assert params["embed_dim"] == golden_params["embed_dim"]


# === Folders ===


def test_folder_of_a_training_run(folder):
    (folder / "configs").mkdir()
    (folder / "checkpoints").mkdir()
    (folder / "config.yaml").rename(folder / "configs" / "model.yaml")
    (folder / "last.ckpt").rename(folder / "checkpoints" / "epoch.ckpt")
    assert_same_weights(load_taming_vqgan(folder), tiny_vqgan())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: (x / "last.ckpt").unlink(), r"\*\.ckpt.* has: none"),
        (
            lambda x: (x / "b.ckpt").touch(),
            r"'b\.ckpt', 'last\.ckpt'\].*--weights",
        ),
        (lambda x: (x / "config.yaml").unlink(), r"\*\.yaml.* has: none"),
        (
            lambda x: (x / "b.yml").touch(),
            r"'b\.yml', 'config\.yaml'\].*--config",
        ),
    ],
)
def test_files_are_not_guessed(folder, change, message):
    change(folder)
    with pytest.raises(FileNotFoundError, match=message):
        load_taming_vqgan(folder)


@pytest.mark.parametrize("text", ["a: [", "!!python/object/apply:os.getcwd []", "\x00"])
def test_broken_yaml(folder, text):
    (folder / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"config\.yaml is not valid YAML"):
        load_taming_vqgan(folder)


# === Configurations ===


def _set(*keys, value):
    def change(config):
        for key in keys[:-1]:
            config = config[key]
        config[keys[-1]] = value

    return change


PARAMS = ("model", "params")
DDCONFIG = (*PARAMS, "ddconfig")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _set("model", "target", value="taming.models.vqgan.EMAVQ"),
            "`model.target` must be a VQModel or GumbelVQ.*EMAVQ",
        ),
        (_set("model", value=3), "`model` must be a mapping.*Received: 3"),
        (_set(*DDCONFIG, value=None), "`model.params.ddconfig` must be a mapping"),
        (_set(*PARAMS, "n_embd", value=3), "'n_embd' .*Did you mean `n_embed`"),
        (_set(*PARAMS, "kl_weight", value=1.0), "Unknown field 'kl_weight'"),
        (_set(*PARAMS, "remap", value="used.npy"), "`remap` must be null"),
        (_set(*DDCONFIG, "zchannels", value=3), "Did you mean `z_channels`"),
        (_set(*DDCONFIG, "resamp_with_conv", value=False), "`resamp_with_conv` must"),
        (
            lambda config: config["model"]["params"]["ddconfig"].pop("double_z"),
            "`double_z` must be False.*Received: True",
        ),
    ],
)
def test_faulty_config(folder, change, message):
    _change_config(folder, change)
    with pytest.raises(ValueError, match=message):
        load_taming_vqgan(folder)


def test_fields_and_tensors_without_effect_are_said(folder):
    _change_config(folder, _set(*PARAMS, "monitor", value="val/rec_loss"))
    names = ("loss.discriminator.main.0.weight", "loss.perceptual_loss.lin0.model.1")
    extra = {name: torch.ones(1) for name in names}
    _change_tensors(folder, lambda tensors: tensors.update(extra))
    notes = []
    assert_same_weights(load_taming_vqgan(folder, notes=notes), tiny_vqgan())
    assert "monitor='val/rec_loss'" in notes[0] and "lossconfig" in notes[0]
    assert "2 tensors" in notes[1]
    assert "loss.discriminator, loss.perceptual_loss" in notes[1]


def test_gumbel_fields(tmp_path):
    saved = tiny_vqgan(quantizer="gumbel", kl_weight=5e-4, latent_channels=5)
    save_taming_vqgan(saved, tmp_path)
    config = read_yaml(tmp_path / "config.yaml")
    # YAML takes a number without a point for a text.
    config["model"]["params"]["kl_weight"] = "5e-4"
    assert config_from_taming(config)["kl_weight"] == 5e-4
    schedule = gumbel_temperature_from_taming(config)
    np.testing.assert_allclose(schedule(0), 0.9)
    config["model"]["params"]["temperature_scheduler_config"]["params"]["lr"] = 1
    with pytest.raises(ValueError, match="Unknown field 'lr'"):
        gumbel_temperature_from_taming(config)


# === A training's folder, and a transformer's ===


@pytest.fixture
def training(tmp_path):
    """A folder as taming-transformers' `main.py` leaves it after two starts."""
    root = tmp_path / "2021-03-04T05-06-07_birds"
    configs, checkpoints = root / "configs", root / "checkpoints"
    configs.mkdir(parents=True)
    checkpoints.mkdir()
    save_taming_vqgan(tiny_vqgan(), tmp_path)
    project = {
        **read_yaml(tmp_path / "config.yaml"),
        "data": {"target": "main.DataModuleFromConfig", "params": {"batch_size": 2}},
    }
    project["model"]["base_learning_rate"] = 4.5e-06
    for date in ("2021-03-04T05-06-07", "2021-03-09T08-07-06"):
        (configs / f"{date}-project.yaml").write_text(yaml.safe_dump(project))
        trainer = {"lightning": {"trainer": {"gpus": "0,"}}}
        (configs / f"{date}-lightning.yaml").write_text(yaml.safe_dump(trainer))
    (tmp_path / "last.ckpt").rename(checkpoints / "last.ckpt")
    return root


def test_a_training_s_folder(training):
    assert_same_weights(load_taming_vqgan(training), tiny_vqgan())


def test_the_newest_of_a_training_s_checkpoints_is_read_and_said(training):
    (training / "checkpoints" / "epoch=000011.ckpt").write_bytes(b"another")
    notes = []
    assert_same_weights(load_taming_vqgan(training, notes=notes), tiny_vqgan())
    assert "2021-03-09T08-07-06-project.yaml, the newest of 2" in notes[0]
    assert "checkpoints/last.ckpt, the newest of 2" in notes[1]


def test_files_can_be_chosen(training, tmp_path):
    other = tiny_vqgan(embedding_dim=3)
    save_taming_vqgan(other, tmp_path)
    chosen = {"config": tmp_path / "config.yaml", "weights": tmp_path / "last.ckpt"}
    assert load_taming_vqgan(training, **chosen).embedding_dim == 3
    # The checkpoint of the one with the configuration of the other.
    with pytest.raises(ValueError, match="embedding"):
        load_taming_vqgan(training, config=chosen["config"])
    with pytest.raises(FileNotFoundError, match=r"none\.ckpt"):
        load_taming_vqgan(training, weights=tmp_path / "none.ckpt")


def test_a_pipe_is_no_checkpoint(folder):
    (folder / "last.ckpt").unlink()
    os.mkfifo(folder / "last.ckpt")
    with pytest.raises(ValueError, match=r"last\.ckpt must be a regular file.*pipe"):
        load_taming_vqgan(folder)


def test_the_vqgan_within_a_transformer(folder):
    def put_into_transformer(config):
        vqgan = config["model"]
        config["model"] = {
            "target": "taming.models.cond_transformer.Net2NetTransformer",
            "params": {
                "cond_stage_key": "coord",
                "first_stage_config": vqgan,
                "cond_stage_config": "__is_first_stage__",
                "transformer_config": {"target": "taming...GPT", "params": {}},
            },
        }

    def put_tensors_into_transformer(tensors):
        for name in list(tensors):
            tensor = tensors.pop(name)
            tensors[f"first_stage_model.{name}"] = tensor
            tensors[f"cond_stage_model.{name}"] = tensor
        tensors["first_stage_model.loss.discriminator.main.0.weight"] = torch.ones(2)
        tensors["transformer.pos_emb"] = torch.ones(1, 4, 4)

    _change_tensors(folder, put_tensors_into_transformer)
    # The VQGAN's own configuration does as well as the transformer's.
    assert_same_weights(load_taming_vqgan(folder), tiny_vqgan())
    _change_config(folder, put_into_transformer)
    notes = []
    assert_same_weights(load_taming_vqgan(folder, notes=notes), tiny_vqgan())
    assert any("out of a Net2NetTransformer" in note for note in notes)
    assert any("1 tensors of the training" in note for note in notes)


@pytest.mark.parametrize(
    "changes",
    [
        [_set(*DDCONFIG, "in_channels", value=1), _set(*DDCONFIG, "out_ch", value=1)],
        [_set("model", "target", value="taming.models.vqgan.VQSegmentationModel")],
        [_set(*DDCONFIG, "out_ch", value=151)],
    ],
    ids=["depth", "segmentation", "labels"],
)
def test_a_vqgan_of_something_else_than_pictures(folder, changes):
    for change in changes:
        _change_config(folder, change)
    with pytest.raises(ValueError, match="3.*channels?.*VQGAN of the pictures"):
        load_taming_vqgan(folder)


# === Faulty weights ===


def _swap(tensors):
    first, second = "encoder.conv_in.weight", "decoder.conv_in.weight"
    tensors[first], tensors[second] = tensors[second], tensors[first]


def _make_integer(tensors):
    tensors["decoder.conv_out.bias"] = torch.arange(3)


def _rename(tensors):
    tensors["decoder.conv_out.offset"] = tensors.pop("decoder.conv_out.bias")


def _make_text(tensors):
    tensors["decoder.conv_out.bias"] = "0, 0, 0"


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (_swap, ["misshapen (2)", "encoder.conv_in.weight: expected (3, 3, 3, 32)"]),
        (_make_integer, ["not floating point (1)", "decoder.conv_out.bias: int64"]),
        (_rename, ["missing (1)", "decoder.conv_out.bias", "decoder.conv_out.offset"]),
        (_make_text, ["'decoder.conv_out.bias' is a str"]),
    ],
)
def test_faulty_weights(folder, change, parts):
    _change_tensors(folder, change)
    with pytest.raises(ValueError) as error:
        load_taming_vqgan(folder)
    for part in (*parts, "last.ckpt"):
        assert part in str(error.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision(folder, dtype):
    def halve(tensors):
        tensors.update({name: x.to(dtype) for name, x in tensors.items()})

    _change_tensors(folder, halve)
    loaded = load_taming_vqgan(folder)
    for ours, exact in zip(loaded.weights, tiny_vqgan().weights, strict=True):
        expected = torch.tensor(np.asarray(exact)).to(dtype).to(torch.float32)
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value_range": (0.0, 1.0)}, r"`value_range` must be \(-1.0, 1.0\)"),
        ({"quantizer": None}, "`quantizer_kind` must be 'nearest' or 'gumbel'"),
        ({"patch_size": 2}, "`patch_size` must be 1"),
    ],
)
def test_unsaveable_models(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        save_taming_vqgan(tiny_vqgan(**changes), tmp_path)
    assert not any(tmp_path.iterdir())
