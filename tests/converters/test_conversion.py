"""Folders of every format there and back, and what lies beside the weights."""

import json
import shutil

import numpy as np
import pytest

from keras_dalle.commands import convert as convert_command
from keras_dalle.converters import conversion
from keras_dalle.converters.conversion import read_checkpoint, write_checkpoint
from keras_dalle.converters.deferred import values_on_demand
from keras_dalle.converters.flax import open_flax_msgpack, write_flax_msgpack
from keras_dalle.converters.originals import FORMATS, recognise
from keras_dalle.converters.tensors import StoredTensor
from keras_dalle.models import (
    DalleBartBackbone,
    DalleBartTextToImage,
    DalleBartTextToImagePreprocessor,
    DalleBartTokenizer,
    VQGANBackbone,
)
from tests.golden.golden_data import ROOT, cases
from tests.tiny_preset import TOKENIZER_DIRECTORY, tiny_task

DALLE_BARTS = cases("dallebart")
FLAX_CASES = DALLE_BARTS[:1] + cases("vqgan_flax")
TAMING_CASES = sorted(path.parent for path in ROOT.glob("vqgan_torch/*/*.ckpt"))


def _case_id(case):
    return "/".join(case.parts[-2:])


def _written(checkpoint, directory, form="keras", notes=None):
    directory.mkdir()
    write_checkpoint(checkpoint, directory, form, notes)
    return directory


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A DALL·E mini with its tokenizer in the original's format, and a VQGAN."""
    root = tmp_path_factory.mktemp("original")
    task = tiny_task()
    task.save_to_preset(root / "task")
    task.vqgan.save_to_preset(root / "vqgan")
    _written(read_checkpoint(root / "task"), root / "mini", "flax")
    return root


# === Bytes ===


# All of DALL·E mini's are written again in tests/golden.
@pytest.mark.parametrize("case", FLAX_CASES, ids=_case_id)
def test_flax_to_flax(case, tmp_path):
    with values_on_demand():
        written = _written(read_checkpoint(case), tmp_path / "x", "flax")
    for name in ("flax_model.msgpack", "config.json"):
        original, ours = (path / name for path in (case, written))
        if name.endswith("msgpack"):
            assert ours.read_bytes() == original.read_bytes()
        elif case in DALLE_BARTS:
            assert json.loads(ours.read_text()) == json.loads(original.read_text())


def _first(is_stacked):
    for case in DALLE_BARTS:
        names = open_flax_msgpack(case / "flax_model.msgpack")
        if any("Layers/" in name for name in names) == is_stacked:
            return case
    raise LookupError(f"No golden case has {is_stacked=} layers.")


def _narrowed(case, folder):
    """A copy of a case in float16."""
    shutil.copytree(case, folder)
    tensors = open_flax_msgpack(case / "flax_model.msgpack")
    write_flax_msgpack(
        folder / "flax_model.msgpack",
        {
            name: StoredTensor.of(tensor.read().astype("float16"))
            for name, tensor in tensors.items()
        },
    )
    return folder


def test_float16_there_and_back(tmp_path):
    case = _narrowed(_first(True), tmp_path / "case")
    arguments = {"dtype": "float16"}
    preset = _written(read_checkpoint(case, **arguments), tmp_path / "preset")
    flax = _written(read_checkpoint(preset, **arguments), tmp_path / "flax", "flax")
    for name in ("flax_model.msgpack", "config.json"):
        assert (flax / name).read_bytes() == (case / name).read_bytes()


def test_a_task_keeps_its_normalizer(tmp_path):
    task = tiny_task()
    task.preprocessor.normalize_text = True
    task.save_to_preset(tmp_path / "task")
    notes = []
    flax = _written(
        read_checkpoint(tmp_path / "task"), tmp_path / "flax", "flax", notes
    )
    assert DalleBartTextToImagePreprocessor.from_preset(flax).normalize_text
    assert any("original's defaults" in note for note in notes)


@pytest.mark.parametrize("is_stacked", [True, False])
def test_flax_to_keras_to_flax(is_stacked, tmp_path):
    case = _first(is_stacked)
    preset = _written(read_checkpoint(case), tmp_path / "preset")
    flax = _written(read_checkpoint(preset), tmp_path / "flax", "flax")
    for name in ("flax_model.msgpack", "config.json"):
        assert (flax / name).read_bytes() == (case / name).read_bytes()


@pytest.mark.parametrize("case", TAMING_CASES, ids=_case_id)
def test_torch_to_keras_to_torch(case, tmp_path):
    preset = _written(read_checkpoint(case), tmp_path / "preset")
    torch = _written(read_checkpoint(preset), tmp_path / "torch", "torch")
    expected, found = (read_checkpoint(path).model for path in (case, torch))
    for ours, theirs in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_streaming_writes_what_loading_does(dtype, tmp_path):
    case = _first(True)
    with values_on_demand():
        _written(read_checkpoint(case, dtype=dtype), tmp_path / "streamed")
    _written(read_checkpoint(case, dtype=dtype), tmp_path / "loaded")
    streamed, loaded = (
        read_checkpoint(tmp_path / name).model for name in ("streamed", "loaded")
    )
    expected = [x.astype(dtype) for x in read_checkpoint(case).model.get_weights()]
    for model in (streamed, loaded):
        for ours, theirs in zip(model.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs.astype("float32"))


def test_shards(tmp_path):
    case = _first(True)
    sharded = shutil.copytree(case, tmp_path / "sharded")
    tensors = open_flax_msgpack(case / "flax_model.msgpack")
    (sharded / "flax_model.msgpack").unlink()
    names = [f"flax_model-0000{i}-of-00002.msgpack" for i in (1, 2)]
    weight_map = {name: names[i % 2] for i, name in enumerate(tensors)}
    for shard in names:
        part = {name: tensors[name] for name in tensors if weight_map[name] == shard}
        write_flax_msgpack(sharded / shard, part)
    index = json.dumps({"metadata": {}, "weight_map": weight_map})
    (sharded / "flax_model.msgpack.index.json").write_text(index)
    flax = _written(read_checkpoint(sharded), tmp_path / "flax", "flax")
    name = "flax_model.msgpack"
    assert (flax / name).read_bytes() == (case / name).read_bytes()


# === What lies beside the weights ===


def test_backbone_with_its_tokenizer(folder, tmp_path):
    preset = _written(read_checkpoint(folder / "mini"), tmp_path / "preset")
    preprocessor = DalleBartTextToImagePreprocessor.from_preset(str(preset))
    expected = DalleBartTextToImagePreprocessor.from_preset(str(folder / "task"))
    for name, values in preprocessor.generate_preprocess(["a red heart"]).items():
        reference = expected.generate_preprocess(["a red heart"])[name]
        np.testing.assert_array_equal(values, reference)
    tokenizer = DalleBartTokenizer.from_preset(str(preset))
    assert dict(tokenizer.vocabulary) == dict(preprocessor.tokenizer.vocabulary)
    assert DalleBartBackbone.from_preset(str(preset)).hidden_dim == 16


def test_task_from_folder_and_vqgan(folder, tmp_path):
    with values_on_demand():
        checkpoint = read_checkpoint(folder / "mini", folder / "vqgan")
        preset = _written(checkpoint, tmp_path / "preset")
    task, expected = (
        DalleBartTextToImage.from_preset(str(path))
        for path in (preset, folder / "task")
    )
    for ours, theirs in ((task, expected), (task.vqgan, expected.vqgan)):
        for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_vqgan_is_written_beside_or_left_out_with_a_note(tmp_path):
    task = tiny_task()
    checkpoint = conversion.Checkpoint(
        task, task.backbone, task.vqgan, task.preprocessor
    )
    notes = []
    written = _written(checkpoint, tmp_path / "left_out", "flax", notes)
    assert not (written / "vqgan").exists()
    assert "The VQGAN is left out. `value_range` must be" in notes[-1]

    config = {**task.vqgan.get_config(), "value_range": (0.0, 1.0)}
    vqgan = VQGANBackbone.from_config(config)
    checkpoint = conversion.Checkpoint(task, task.backbone, vqgan, task.preprocessor)
    written = _written(checkpoint, tmp_path / "beside", "flax", notes)
    assert recognise(written / "vqgan").name == "Flax VQGAN"


def test_min_dalle_with_its_tokenizer(folder, tmp_path):
    written = _written(read_checkpoint(folder / "mini"), tmp_path / "x", "min-dalle")
    checkpoint = read_checkpoint(written, num_heads=2)
    assert checkpoint.preprocessor.max_text_length == 16
    assert checkpoint.preprocessor.normalize_text
    expected = DalleBartBackbone.from_preset(str(folder / "task"))
    for ours, theirs in zip(
        checkpoint.backbone.get_weights(), expected.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_tokenizer_alone(tmp_path):
    written = _written(read_checkpoint(TOKENIZER_DIRECTORY), tmp_path / "x")
    tokenizer = DalleBartTokenizer.from_preset(str(written))
    expected = DalleBartTokenizer.from_files(TOKENIZER_DIRECTORY)
    assert dict(tokenizer.vocabulary) == dict(expected.vocabulary)
    assert tokenizer.merges == expected.merges


# === Refusals ===


def test_unknown_format_lists_the_known_ones_and_what_was_found(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError) as error:
        read_checkpoint(tmp_path)
    for known in FORMATS:
        assert known.name in str(error.value)
    assert "config.json, pytorch_model.bin (with `model_type` 'bert')" in str(
        error.value
    )


def test_no_folder(tmp_path):
    with pytest.raises(NotADirectoryError, match="There is no folder"):
        read_checkpoint(tmp_path / "nothing")


def test_vqgan_without_a_tokenizer(folder):
    with pytest.raises(ValueError, match="DalleBartBackbone and no tokenizer"):
        read_checkpoint(_first(True), folder / "vqgan")


def test_folder_of_the_vqgan_holds_none(folder):
    with pytest.raises(ValueError, match="must be a VQGAN in"):
        read_checkpoint(folder / "mini", folder / "mini")


def test_dalle_mini_has_no_plain_torch_format(folder, tmp_path):
    with pytest.raises(ValueError, match="keras, flax and min-dalle. Received: torch"):
        _written(read_checkpoint(folder / "mini"), tmp_path / "x", "torch")


def test_unknown_form(folder, tmp_path):
    with pytest.raises(ValueError, match="`form` must be one of .*'h5'"):
        _written(read_checkpoint(folder / "mini"), tmp_path / "x", "h5")


def test_damaged_preset(folder, tmp_path):
    preset = shutil.copytree(folder / "vqgan", tmp_path / "preset")
    (preset / "model.weights.h5").write_bytes(b"\x89HDF")
    with pytest.raises(OSError, match="cannot be read, or are damaged"):
        read_checkpoint(preset)


def test_command_offers_the_same_formats():
    assert convert_command.FORMATS == conversion.FORMATS
