"""A preset's files, damaged and hostile: refused by name, before anything is built."""

import json
import os
import shutil

import h5py
import numpy as np
import pytest

from keras_dalle.models import (
    DalleBartBackbone,
    DalleBartTextToImage,
    DalleBartTextToImagePreprocessor,
    DalleBartTokenizer,
    VQGANBackbone,
)
from tests.models.load_report import fingerprint
from tests.tiny_preset import tiny_task


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preset") / "whole"
    tiny_task().save_to_preset(str(folder))
    return folder


@pytest.fixture
def preset(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "preset")


def refusal(preset, loaded_class=DalleBartTextToImage, error=ValueError):
    """The text of the error, which comes before a model's first layer."""

    def build(cls, config):
        raise AssertionError("built")

    with pytest.MonkeyPatch.context() as patch:
        for backbone in (DalleBartBackbone, VQGANBackbone):
            patch.setattr(backbone, "from_config", classmethod(build))
        with pytest.raises(error) as raised:
            loaded_class.from_preset(preset)
    text = str(raised.value)
    assert len(text) < 2000
    return text


def rewrite(path, change):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content)))


def set_at(*keys, value):
    """Puts a value at a place of a file's content."""

    def change(content):
        place = content
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        return content

    return change


# === Sizes ===

SIZES = [
    ("num_decoder_layers", 10**7, "an integer from 1 to 256"),
    ("num_encoder_layers", 200, "`num_encoder_layers`: expected 200, received 1"),
    ("hidden_dim", 40_000, "`hidden_dim`: expected 40000, received layers/embedding/"),
    ("vocabulary_size", 10**13, "`vocabulary_size` must be an integer from 1 to"),
    ("vocabulary_size", 601, "expected 601, received layers/embedding/vars/0 of shape"),
    ("image_vocabulary_size", 2**24, "`image_vocabulary_size`: expected 16777216"),
    ("encoder_intermediate_dim", 2**19, "`encoder_intermediate_dim`: expected 524288"),
    ("max_text_length", 2**16, "`max_text_length`: expected 65536, received"),
    ("image_length", 0, "`image_length` must be an integer from 1"),
    ("num_heads", 0, "`num_heads` must be an integer from 1"),
    ("num_heads", 3, "`hidden_dim` (=16) must be divisible by `num_heads` (=3)"),
    ("dropout", float("nan"), "`dropout` must be a number from 0"),
    ("init_std", "0.5", "`init_std` must be a number from 0"),
    ("hidden_dim", None, "`hidden_dim` must be an integer from 1 to"),
    ("decoder_start_token_id", -1, "`decoder_start_token_id` must be an integer"),
    ("variant", [1], "`variant` must be an object"),
    ("variant", {"norm": "x"}, "`norm` must be one of"),
    ("variant", {"sinkhorn_iterations": 10**9}, "`sinkhorn_iterations` must be"),
    ("variant", {"colour": 1}, "`variant` must have the fields"),
    ("variant", {"use_bias": "yes"}, "`use_bias` must be a bool"),
    ("depth", 3, "arguments of DalleBartBackbone alone. Received: ['depth']"),
]


@pytest.mark.parametrize(("name", "value", "message"), SIZES)
@pytest.mark.parametrize("place", ["config.json", "task.json"])
def test_sizes_of_the_backbone(preset, place, name, value, message):
    inner = ("config",) if place == "config.json" else ("config", "backbone", "config")
    rewrite(preset / place, set_at(*inner, name, value=value))
    text = refusal(preset)
    assert message in text
    assert str(preset) in text


VQGAN_SIZES = [
    ("codebook_size", 33, "`codebook_size`: expected 33, received"),
    ("num_res_blocks", 64, "`residual blocks`: expected"),
    ("num_res_blocks", 10**7, "`num_res_blocks` must be an integer from 1 to 64"),
    ("base_channels", 2**14, "`base_channels`: expected 16384"),
    ("channel_multipliers", [1] * 10**4, "`channel_multipliers` must be a list of 1"),
    ("channel_multipliers", 5, "`channel_multipliers` must be a list"),
    ("image_size", 10**9, "`image_size` must be an integer from 1 to 8192"),
    ("value_range", [0.0, 0.0], "`value_range` must be black and then white"),
    ("quantizer", "mean", "`quantizer` must be nearest, gumbel or null"),
    ("embedding_dim", 10**5, "`embedding_dim` must be an integer"),
    ("kl_weight", float("inf"), "`kl_weight` must be a number"),
    ("latent_channels", 2**16, "numbers expected, received"),
]


@pytest.mark.parametrize(("name", "value", "message"), VQGAN_SIZES)
def test_sizes_of_the_vqgan(preset, name, value, message):
    rewrite(
        preset / "task.json", set_at("config", "vqgan", "config", name, value=value)
    )
    text = refusal(preset)
    assert message in text
    assert str(preset) in text


# === Objects that are none of ours ===


@pytest.mark.parametrize(
    "content",
    ["[]", "null", "3", '"text"', "{}", '{"config": {}}', '{"config": [], "a": 1}'],
)
@pytest.mark.parametrize("name", ["task.json", "config.json"])
def test_files_that_hold_no_keras_object(preset, name, content):
    path = preset / name
    path.write_text(content)
    if name == "task.json":
        text = refusal(preset)
        assert f"{path} must hold a Keras object of the class DalleBartText" in text
        assert "Save the preset again" in text
    else:
        # Without `registered_name` it is an original's folder.
        assert str(preset) in refusal(preset, error=(ValueError, OSError))


CHANGES = {
    "no class": (lambda x: {k: v for k, v in x.items() if k != "registered_name"}),
    "other class": set_at("registered_name", value="keras>Lambda"),
    "number as class": set_at("registered_name", value=7),
    "compile": set_at("compile_config", value={"optimizer": "adam"}),
    "foreign backbone": set_at("config", "backbone", "registered_name", value="x>Y"),
    "no backbone": (lambda x: set_at("config", value={"name": "task"})(x)),
    "list for a backbone": set_at("config", "backbone", value=[1, 2]),
    "vqgan as backbone": (
        lambda x: set_at("config", "backbone", value=x["config"]["vqgan"])(x)
    ),
    "text for a vqgan": set_at("config", "vqgan", value="taming"),
    "list for a tokenizer": set_at(
        "config", "preprocessor", "config", "tokenizer", value=[]
    ),
    "tokenizer elsewhere": set_at(
        *("config", "preprocessor", "config", "tokenizer", "config", "config_file"),
        value="../../etc/x.json",
    ),
    "rate": set_at("config", "blank_caption_rate", value=5),
    "defaults": set_at("config", "generation_defaults", value={"top_k": "many"}),
    "length": set_at("config", "preprocessor", "config", "max_text_length", value=1e9),
    "dtype": set_at("config", "backbone", "config", "dtype", value="float99"),
    "dtype of a function": set_at(
        *("config", "vqgan", "config", "dtype"),
        value={"module": "os", "class_name": "getcwd", "config": {}},
    ),
    "unknown argument": set_at("config", "colour", value="red"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_task_with_something_else_in_it(preset, change):
    rewrite(preset / "task.json", change)
    text = refusal(preset)
    assert "task.json" in text
    assert "again" in text or "anew" in text


def test_a_task_of_many_levels(preset):
    (preset / "task.json").write_text('{"config":' * 100_000 + "1" + "}" * 100_000)
    assert "task.json is not valid JSON (RecursionError" in refusal(preset)


@pytest.mark.parametrize(
    ("loaded_class", "name"),
    [
        (DalleBartTokenizer, "tokenizer.json"),
        (DalleBartTextToImagePreprocessor, "preprocessor.json"),
        (DalleBartBackbone, "config.json"),
    ],
)
def test_files_of_other_classes(preset, loaded_class, name):
    rewrite(preset / name, set_at("registered_name", value="keras_hub>BertTokenizer"))
    text = refusal(preset, loaded_class)
    assert (
        f"{name} must hold a Keras object of the class {loaded_class.__name__}" in text
    )


# === Weights ===


@pytest.mark.parametrize("name", ["model.weights.h5", "task.weights.h5"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "text", "pipe", "bomb"])
def test_weights(preset, name, damage):
    path = preset / name
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "text":
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    elif damage == "pipe":
        os.mkfifo(path)
    elif damage == "bomb":
        with h5py.File(path, "w") as file:
            file.create_dataset("layers/a/vars/0", (10**6, 10**6), "float32")
    expected = "weights" if damage == "missing" else name
    assert expected in refusal(preset, error=(ValueError, FileNotFoundError))


def test_more_layers_than_the_weights_fill(preset):
    """Names alone make no weights."""
    with h5py.File(preset / "model.weights.h5", "a") as file:
        for i in range(1, 200):
            file.create_group(f"layers/text_encoder_layer_{i}/feed_forward")
            file[f"layers/text_encoder_layer_{i}/feed_forward/x"] = np.zeros(1)
    for name, inner in (("config", ()), ("task", ("config", "backbone"))):
        place = (*inner, "config", "num_encoder_layers")
        rewrite(preset / f"{name}.json", set_at(*place, value=200))
    assert "numbers expected, received" in refusal(preset)


@pytest.mark.parametrize("name", ["../model.weights.h5", "/etc/hostname", ""])
def test_shards_elsewhere(preset, name):
    (preset / "model.weights.h5").unlink()
    shards = {"metadata": {}, "weight_map": {"/layers/embedding/vars": [name]}}
    (preset / "model.weights.json").write_text(json.dumps(shards))
    assert "must name the files of its shards" in refusal(preset)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("model.weights.h5", "layers/text_encoder_layer/self_attention/query/vars/0"),
        ("task.weights.h5", "layers/vector_quantizer/vars/0"),
    ],
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none(preset, file, name, value):
    with h5py.File(preset / file, "a") as weights:
        weights[name][1, 2] = value
    part = "query" if "query" in name else "codebook"
    message = f"must be finite numbers. Received: NaN or an infinity in .*{part}"
    with pytest.raises(ValueError, match=message):
        DalleBartTextToImage.from_preset(preset)


def test_a_whole_preset_is_loaded(whole):
    loaded = DalleBartTextToImage.from_preset(whole)
    assert fingerprint(loaded) == fingerprint(tiny_task())
