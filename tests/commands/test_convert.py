"""`keras-dalle convert`: what it says, what it writes, and what it leaves behind."""

import json
import shutil
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from keras_dalle.cli import app
from keras_dalle.commands.convert import destination
from keras_dalle.commands.progress import console
from keras_dalle.converters.flax import open_flax_msgpack, write_flax_msgpack
from keras_dalle.converters.tensors import StoredTensor
from keras_dalle.converters.vqgan_taming import save_taming_vqgan
from keras_dalle.models import DalleBartBackbone
from tests.converters.tiny_vqgans import tiny_vqgan
from tests.golden.golden_data import ROOT, cases

CASE = cases("dallebart")[0]
VQGAN_CASE = cases("vqgan_flax")[0]
TAMING_CASE = min(path.parent for path in ROOT.glob("vqgan_torch/*/last.ckpt"))
WEIGHTS = "flax_model.msgpack"


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    """In 80 columns, which a test's terminal may have, messages would be broken."""
    monkeypatch.setattr(console, "width", 500)


def run(*arguments):
    return CliRunner().invoke(
        app, ["convert", *map(str, arguments)], env={"COLUMNS": "500"}
    )


@pytest.fixture
def source(tmp_path):
    return shutil.copytree(CASE, tmp_path / "source")


@pytest.fixture
def refused(source):
    """Converts the changed source, which must fail and leave nothing behind."""

    def convert(*options):
        before = sorted(source.parent.iterdir())
        target = source.parent / "new" / "target"
        result = run(source, "--to", target, *options)
        assert result.exit_code == 1, result.output
        assert "Traceback" not in result.output
        assert sorted(source.parent.iterdir()) == before
        return result.stderr

    return convert


# === Conversions ===


def test_to_a_preset_and_back(tmp_path):
    preset, flax = tmp_path / "new" / "preset", tmp_path / "flax"
    result = run(CASE, "--to", preset)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(preset)
    expected = DalleBartBackbone.from_preset(CASE)
    backbone = DalleBartBackbone.from_preset(str(preset))
    for ours, theirs in zip(
        backbone.get_weights(), expected.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert run(preset, flax, "--to", "flax").exit_code == 0
    for name in (WEIGHTS, "config.json"):
        assert (flax / name).read_bytes() == (CASE / name).read_bytes()


def test_it_says_what_it_read(tmp_path):
    text = run(CASE, "--to", tmp_path / "x").stderr
    tensors = open_flax_msgpack(CASE / WEIGHTS)
    numbers = sum(np.prod(tensor.shape, dtype=int) for tensor in tensors.values())
    config = json.loads((CASE / "config.json").read_text())
    assert ": Flax DalleBart" in text
    assert f"{len(tensors)} tensors, {numbers:,} numbers" in text
    assert f"and {len(tensors) - 5} smaller ones" in text
    assert f"DalleBartBackbone, {numbers:,} parameters" in text
    assert f"hidden_dim │ {config['d_model']}" in " ".join(text.split())
    assert "Note: Without effect here: architectures=" in text


def test_all_tensors_are_listed_if_wanted(tmp_path):
    text = run(CASE, "--to", tmp_path / "x", "--tensors").stderr
    for name, tensor in open_flax_msgpack(CASE / WEIGHTS).items():
        (line,) = [line for line in text.splitlines() if f" {name} " in line]
        assert "×".join(map(str, tensor.shape)) in line
    assert "smaller ones" not in text


def test_narrower_weights(tmp_path):
    assert run(CASE, "--to", tmp_path / "x", "--dtype", "float16").exit_code == 0
    with h5py.File(tmp_path / "x" / "model.weights.h5") as file:
        dtypes = set()
        file.visititems(
            lambda name, item: (
                dtypes.add(item.dtype.name)
                if isinstance(item, h5py.Dataset) and "seed" not in name
                else None
            )
        )
    assert dtypes == {"float16"}


def test_vqgan(tmp_path):
    result = run(VQGAN_CASE, tmp_path / "x")
    assert result.exit_code == 0, result.output
    assert ": Flax VQGAN" in result.stderr
    result = run(tmp_path / "x", tmp_path / "y", "--to", "flax")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "y" / WEIGHTS).read_bytes() == (
        VQGAN_CASE / WEIGHTS
    ).read_bytes()


def test_shipped_preset_by_name(tmp_path):
    result = run("emoji_tiny", tmp_path / "x", "--to", "flax")
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "x").iterdir()} == {
        "config.json",
        WEIGHTS,
        "merges.txt",
        "vocab.json",
    }
    assert "Note: The VQGAN is left out." in result.stderr


@pytest.mark.parametrize(
    ("directory", "to", "expected"),
    [
        (None, "keras", ("keras", Path("mini-keras"))),
        (None, "flax", ("flax", Path("mini-flax"))),
        (Path("x"), "flax", ("flax", Path("x"))),
        (None, "x/flax", ("keras", Path("x/flax"))),
    ],
)
def test_destination(directory, to, expected):
    assert destination(Path("downloads/mini"), directory, to) == expected


def test_folder_given_twice():
    with pytest.raises(typer.BadParameter, match="Received: --to pytorch"):
        destination(Path("mini"), Path("x"), "pytorch")


# === Refusals ===


def test_existing_target(source, tmp_path):
    (tmp_path / "target").mkdir()
    result = run(source, "--to", tmp_path / "target")
    assert result.exit_code == 1
    assert "exists already. Name a folder that does not exist yet." in result.stderr
    assert list((tmp_path / "target").iterdir()) == []


def test_truncated_weights(source, refused):
    content = (source / WEIGHTS).read_bytes()
    (source / WEIGHTS).write_bytes(content[: 3 * len(content) // 4])
    assert "is not a complete flax msgpack file: it ends" in refused()


def test_swapped_tensors(source, refused):
    tensors = open_flax_msgpack(source / WEIGHTS)
    first, second = "lm_head/kernel", "model/encoder/layernorm_embedding/scale"
    tensors[first], tensors[second] = tensors[second], tensors[first]
    write_flax_msgpack(source / "swapped", tensors)
    (source / "swapped").replace(source / WEIGHTS)
    text = refused()
    assert "misshapen (2)" in text
    for name, other in ((first, second), (second, first)):
        expected, received = tensors[other].shape, tensors[name].shape
        assert f"{name}: expected {expected}, received {received}" in text


def test_missing_and_unexpected_tensors(source, refused):
    tensors = open_flax_msgpack(source / WEIGHTS)
    tensors["lm_head/weight"] = tensors.pop("lm_head/kernel")
    write_flax_msgpack(source / "renamed", tensors)
    (source / "renamed").replace(source / WEIGHTS)
    text = refused()
    assert "missing (1):\n    lm_head/kernel (for image_head/kernel)" in text
    assert "unexpected (1):\n    lm_head/weight" in text


def test_integers_in_place_of_numbers_with_a_point(source, refused):
    tensors = open_flax_msgpack(source / WEIGHTS)
    array = tensors["lm_head/kernel"].read().astype("int32")
    tensors["lm_head/kernel"] = StoredTensor.of(array)
    write_flax_msgpack(source / "integers", tensors)
    (source / "integers").replace(source / WEIGHTS)
    assert "not floating point (1):\n    lm_head/kernel: int32" in refused()


def test_configuration_of_another_model(source, refused):
    shutil.copy(VQGAN_CASE / "config.json", source)
    text = refused()
    assert "missing: quantize/embedding/embedding, which shows `codebook_size`" in text


def test_configuration_of_other_sizes(source, refused):
    config = json.loads((source / "config.json").read_text())
    config["decoder_layers"] += 1
    (source / "config.json").write_text(json.dumps(config))
    assert "`num_decoder_layers`: expected" in refused()


def test_names_and_values_are_not_read_as_markup(source, refused):
    tensors = dict(open_flax_msgpack(source / WEIGHTS))
    tensors["lm_head/[/bold]"] = StoredTensor.of(np.zeros(10**6, "float32"))
    write_flax_msgpack(source / WEIGHTS, tensors)
    assert "lm_head/[/bold]" in refused()


def test_unknown_field(source, refused):
    config = json.loads((source / "config.json").read_text())
    config["use_gluu"] = True
    (source / "config.json").write_text(json.dumps(config))
    assert "Unknown field 'use_gluu' (=True)" in refused()


def test_format_that_cannot_hold_the_model(source, tmp_path):
    before = sorted(tmp_path.iterdir())
    result = run(source, tmp_path / "new", "--to", "torch")
    assert result.exit_code == 1
    assert "keras, flax and min-dalle. Received: torch" in result.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_failure_while_writing_leaves_nothing(refused, monkeypatch):
    def fail(self, path, **kwargs):
        Path(path).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(keras.Model, "save_weights", fail)
    assert "No space left on device" in refused()


def test_pickle_with_code_in_it(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("encoder.pt", "decoder.pt"):
        torch.save({"weight": _Code()}, source / name)
    result = run(source, "--to", tmp_path / "x")
    assert result.exit_code == 1
    assert "encoder.pt holds code, which is never run here" in result.stderr
    assert sorted(tmp_path.iterdir()) == [source]


class _Code:
    def __reduce__(self):
        return print, ("code was run",)


def test_no_known_format(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    result = run(tmp_path, "--to", tmp_path / "x")
    assert result.exit_code == 1
    assert "must be a folder in one of these formats" in result.stderr
    assert "Received: notes.txt" in result.stderr


def test_files_of_a_taming_folder_can_be_chosen(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(TAMING_CASE, source)
    shutil.copy(source / "config.yaml", source / "other.yaml")
    result = run(source, tmp_path / "x")
    assert result.exit_code == 1 and "`--config FILE`" in result.stderr
    options = ["--config", source / "config.yaml", "--weights", source / "last.ckpt"]
    assert run(source, tmp_path / "x", *options).exit_code == 0
    result = run(CASE, tmp_path / "y", *options)
    assert result.exit_code == 1 and "for a folder of another format" in result.stderr


def test_a_vqgan_of_other_codes_is_refused_before_anything_is_written(source, tmp_path):
    shutil.copytree(ROOT / "text" / "tokenizer", source, dirs_exist_ok=True)
    other = tmp_path / "vqgan"
    other.mkdir()
    save_taming_vqgan(tiny_vqgan(), other)
    result = run(source, tmp_path / "x", "--vqgan", other)
    assert result.exit_code == 1
    assert "must have the 64 codes that the model draws. Received: 7" in result.stderr
    assert not (tmp_path / "x").exists()
    assert run(source, tmp_path / "x", "--vqgan", VQGAN_CASE).exit_code == 0
