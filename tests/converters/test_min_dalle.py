"""min-dalle's torch files: the same model as DALL·E mini's own, and the complaints."""

import json

import numpy as np
import pytest

from keras_dalle.converters.dalle_bart import load_dalle_bart, unstack_layers
from keras_dalle.converters.dalle_bart_config import config_from_original
from keras_dalle.converters.flax import open_flax_msgpack
from keras_dalle.converters.min_dalle import (
    config_from_tensors,
    load_min_dalle,
    open_min_dalle,
    save_min_dalle,
)
from keras_dalle.converters.tensors import StoredTensor
from keras_dalle.converters.torch import write_torch_checkpoint
from keras_dalle.layers.variant import TransformerVariant
from keras_dalle.models import DalleBartBackbone
from tests.golden.golden_data import cases, load_npz


def _is_released_architecture(directory):
    config = json.loads((directory / "config.json").read_text())
    return config_from_original(config)["variant"] == TransformerVariant()


RELEASED = [
    case
    for case in cases("dallebart")
    if _is_released_architecture(case) and (case / "io.npz").exists()
]

# === As min-dalle's own conversion wrote them ===

_PARTS = {
    "LayerNorm_0": "pre_self_attn_layer_norm",
    "LayerNorm_1": "self_attn_layer_norm",
    "LayerNorm_2": "pre_encoder_attn_layer_norm",
    "LayerNorm_3": "encoder_attn_layer_norm",
    "FlaxBartAttention_0": "self_attn",
    "FlaxBartAttention_1": "encoder_attn",
}
_GLU_PARTS = {
    "LayerNorm_0": "ln0",
    "LayerNorm_1": "ln1",
    "Dense_0": "fc0",
    "Dense_1": "fc1",
    "Dense_2": "fc2",
}
_LEAVES = {"kernel": "weight", "scale": "weight", "embedding": "weight", "bias": "bias"}


def _min_dalle_name(name):
    """The file and the name within it, by the tree's path."""
    *parts, leaf = name.removeprefix("model/").split("/")
    if parts == ["lm_head"]:
        return "decoder", "lm_head.weight"
    side, *parts = parts
    if parts[0] == "layers":
        _, layer, part, *rest = parts
        number = layer.rpartition("_")[2]
        if part == "GLU_0":
            parts = ["layers", number, "glu", _GLU_PARTS[rest[0]]]
        else:
            parts = ["layers", number, _PARTS[part], *rest]
    return side, ".".join([*parts, _LEAVES[leaf]])


def _write_min_dalle(case, directory, dtype):
    files = {"encoder": {}, "decoder": {}}
    tensors = unstack_layers(open_flax_msgpack(case / "flax_model.msgpack"))
    for name, tensor in tensors.items():
        array = tensor.read().astype(dtype)
        side, theirs = _min_dalle_name(name)
        is_kernel = name.endswith("/kernel")
        files[side][theirs] = StoredTensor.of(array.T if is_kernel else array)
    for side, content in files.items():
        write_torch_checkpoint(directory / f"{side}.pt", content)


def _arguments_beside_the_files(case):
    """What the files do not hold; the released models' values would not fit."""
    config = json.loads((case / "config.json").read_text())
    return {
        "num_heads": config["encoder_attention_heads"],
        "decoder_start_token_id": config["decoder_start_token_id"],
    }


@pytest.fixture(params=RELEASED, ids=lambda case: case.name)
def case(request):
    return request.param


def _logits(backbone, golden):
    inputs = {
        "encoder_token_ids": golden["input_ids"],
        "encoder_padding_mask": golden["attention_mask"],
        "decoder_token_ids": golden["decoder_input_ids"],
    }
    return np.asarray(backbone(inputs)["logits"])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_same_model_as_dalle_minis_own(case, tmp_path, dtype):
    _write_min_dalle(case, tmp_path, dtype)
    ours = load_min_dalle(tmp_path, **_arguments_beside_the_files(case))
    expected = load_dalle_bart(case)
    ignored = {"name", "init_std", "dropout"}
    configs = [
        {k: v for k, v in model.get_config().items() if k not in ignored}
        for model in (ours, expected)
    ]
    assert configs[0] == configs[1]
    for ours_array, array in zip(
        ours.get_weights(), expected.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours_array, array.astype(dtype).astype("float32"))
    if dtype == "float32":
        golden = load_npz(case / "io.npz")
        np.testing.assert_array_equal(_logits(ours, golden), _logits(expected, golden))


def test_there_and_back(case, tmp_path):
    _write_min_dalle(case, tmp_path, "float16")
    ours = load_min_dalle(tmp_path, dtype="float16", num_heads=2)
    (tmp_path / "again").mkdir()
    save_min_dalle(ours, tmp_path / "again")
    before, after = open_min_dalle(tmp_path), open_min_dalle(tmp_path / "again")
    assert set(before) == set(after)
    for name, tensor in after.items():
        assert tensor.dtype == np.float16
        np.testing.assert_array_equal(tensor.read(), before[name].read())


def _shapes_of(hidden_dim, image_rows, layers):
    shapes = {
        "encoder.embed_tokens.weight": (50264, hidden_dim),
        "encoder.embed_positions.weight": (64, hidden_dim),
        "decoder.embed_tokens.weight": (image_rows, hidden_dim),
        "decoder.embed_positions.weight": (256, hidden_dim),
    }
    for side in ("encoder", "decoder"):
        for i in range(layers):
            shapes[f"{side}.layers.{i}.glu.fc0.weight"] = (2730, hidden_dim)
    empty = np.zeros((), "float16")
    return {
        name: StoredTensor.of(np.broadcast_to(empty, shape))
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize(
    ("hidden_dim", "image_rows", "heads"), [(1024, 16385, 16), (2048, 16416, 32)]
)
def test_configuration_of_the_released_sizes(hidden_dim, image_rows, heads):
    config = config_from_tensors(_shapes_of(hidden_dim, image_rows, layers=12))
    assert config == {
        "vocabulary_size": 50264,
        "image_vocabulary_size": image_rows - 1,
        "num_encoder_layers": 12,
        "num_decoder_layers": 12,
        "num_heads": heads,
        "hidden_dim": hidden_dim,
        "encoder_intermediate_dim": 2730,
        "decoder_intermediate_dim": 2730,
        "max_text_length": 64,
        "image_length": 256,
        "decoder_start_token_id": 16384,
    }


def test_tensor_that_tells_a_size_is_missing():
    tensors = _shapes_of(64, 17, layers=1)
    del tensors["decoder.embed_positions.weight"]
    with pytest.raises(ValueError, match="decoder.embed_positions.weight.*no such"):
        config_from_tensors(tensors)


def test_missing_file(tmp_path):
    _write_min_dalle(RELEASED[0], tmp_path, "float16")
    (tmp_path / "decoder.pt").unlink()
    with pytest.raises(FileNotFoundError, match="Missing: decoder.pt"):
        load_min_dalle(tmp_path)


def test_missing_layer_is_named(tmp_path):
    _write_min_dalle(RELEASED[0], tmp_path, "float16")
    content = {
        name.removeprefix("encoder."): tensor
        for name, tensor in open_min_dalle(tmp_path).items()
        if name.startswith("encoder.") and "layers.0.self_attn.k" not in name
    }
    write_torch_checkpoint(tmp_path / "encoder.pt", content)
    with pytest.raises(ValueError) as error:
        load_min_dalle(tmp_path, num_heads=2)
    assert "missing (1)" in str(error.value)
    assert "encoder.layers.0.self_attn.k_proj.weight (for " in str(error.value)


def test_other_architecture_cannot_be_written(tmp_path):
    backbone = DalleBartBackbone(1, 1, 1, 1, 1, 1, 1, 1, variant={"norm": "rmsnorm"})
    with pytest.raises(ValueError, match="released DALL·E mini.*rmsnorm"):
        save_min_dalle(backbone, tmp_path)


def test_notes_on_what_the_files_do_not_tell(tmp_path):
    _write_min_dalle(RELEASED[0], tmp_path, "float16")
    notes = []
    load_min_dalle(tmp_path, load_weights=False, notes=notes, num_heads=2)
    assert "num_heads=2" in notes[0]
