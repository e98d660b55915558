"""The card says what the model is, in words that its SavedModel bears out."""

import json
from collections import Counter

import pytest
import tensorflow as tf

import keras_dalle
from keras_dalle.saved_model.card_file import (
    CARD_JSON_FILE,
    XLA_FLAG,
    needed_server_flags,
)
from keras_dalle.saved_model.model_card import CARD_FILE

# As in conftest.py.
PRESET = {"name": "tiny", "sha256": None, "license": "Apache-2.0 | other"}


@pytest.fixture(scope="module")
def card(exported):
    return json.loads((exported / CARD_JSON_FILE).read_text(encoding="utf-8"))


def test_architecture_is_that_of_the_configuration(card):
    assert card["architecture"]["backbone"]["hidden_dim"] == 16
    assert card["architecture"]["vqgan"]["codebook_size"] == 32
    assert card["architecture"]["task"]["class"] == "DalleBartTextToImage"


def test_parameters_are_those_in_the_variables(card, exported):
    prefix = str(exported / "variables" / "variables")
    sizes = [
        tf.TensorShape(shape).num_elements()
        for name, shape in tf.train.list_variables(prefix)
        if name.startswith("weights/")
    ]
    assert card["parameters"] == {"float32": sum(sizes)}


def test_all_signatures_share_one_copy_of_the_weights(task, exported):
    """Each shape is there as often as the model has it."""
    prefix = str(exported / "variables" / "variables")
    written = Counter(
        tuple(shape)
        for name, shape in tf.train.list_variables(prefix)
        if name.startswith("weights/")
    )
    weights = [*task.backbone.weights, *task.vqgan.weights]
    assert written == Counter(tuple(weight.shape) for weight in weights)


def test_signatures_have_shapes_and_defaults(card):
    signature = card["signatures"]["serving_default"]
    assert signature["inputs"]["prompt"] == {"dtype": "string", "shape": [None]}
    assert signature["inputs"]["top_k"] == {
        "dtype": "int32",
        "shape": [None],
        "default": 50,
    }
    assert signature["outputs"]["image_bytes"]["dtype"] == "string"


def test_versions_and_preset_are_told(card):
    assert card["preset"] == PRESET
    assert card["written_by"]["keras_dalle"] == keras_dalle.__version__
    assert card["written_by"]["tensorflow"] == tf.__version__
    assert card["warmup_batch_sizes"] == [1, 4]
    assert card["generation_defaults"]["guidance_scale"] == 10.0
    assert card["server_flags"] == []


def test_markdown_says_the_same(card, exported):
    text = (exported / CARD_FILE).read_text(encoding="utf-8")
    assert text.startswith("# tiny\n")
    assert "Licence: Apache-2.0 | other." in text
    assert "| license | Apache-2.0 \\| other |" in text
    assert "| input | `top_k` | int32 | [B] | 50 |" in text
    assert "Batch sizes of the warm-up requests: 1, 4." in text
    for name in card["signatures"]:
        assert f"## Signature `{name}`" in text


@pytest.mark.parametrize(
    "content, flags",
    [
        (None, []),
        ("{", []),
        ("[]", []),
        ("{}", []),
        ('{"server_flags": 3}', []),
        ('{"server_flags": "--all"}', []),
        (json.dumps({"server_flags": [XLA_FLAG, "--model_name=x", 3]}), [XLA_FLAG]),
        ("[" * 100_000, []),
    ],
)
def test_flags_are_read_of_any_card(tmp_path, content, flags):
    if content is not None:
        (tmp_path / CARD_JSON_FILE).parent.mkdir()
        (tmp_path / CARD_JSON_FILE).write_text(content)
    assert needed_server_flags(tmp_path) == flags
