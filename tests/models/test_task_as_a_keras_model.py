"""Keras's operations on a model: freeze, quantize, export, copy."""

import copy
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.models import DalleBartTextToImage
from keras_dalle.saved_model.exporter import export_to_folder
from tests.tiny_preset import tiny_task
from tests.toy_task import ToyTask, export_toy


@pytest.fixture(scope="module")
def task():
    return tiny_task()


# === Freezing ===


def test_the_vqgan_stays_frozen():
    task = tiny_task()
    trained = {id(variable) for variable in task.backbone.trainable_variables}
    assert {id(variable) for variable in task.trainable_variables} == trained
    task.trainable = False
    assert task.trainable_variables == [] and not task.trainable
    task.trainable = True
    assert {id(variable) for variable in task.trainable_variables} == trained
    assert not task.vqgan.trainable_variables and task.trainable
    # Training of the VQGAN itself remains possible.
    task.vqgan.trainable = True
    assert task.vqgan.trainable_variables


def test_frozen_from_the_start(task):
    frozen = DalleBartTextToImage(task.backbone, vqgan=task.vqgan, trainable=False)
    assert frozen.trainable_variables == []
    task.backbone.trainable = True


# === KerasHub's names ===


def test_kerashub_s_names_for_parts(task):
    embedding = task.backbone.token_embedding
    assert embedding is task.backbone.text_token_embedding
    assert embedding(np.zeros((2, 3), "int32")).shape == (2, 3, 16)
    assert task.vqgan.token_embedding is None


def test_the_sequence_length_can_be_set():
    preprocessor = tiny_task().preprocessor
    assert preprocessor.sequence_length == preprocessor.max_text_length == 16
    preprocessor.sequence_length = 6
    assert preprocessor.get_config()["max_text_length"] == 6
    ids = preprocessor.generate_preprocess(["a b c d e f g"])["encoder_token_ids"]
    assert ids.shape == (1, 6)


# === Quantizing ===


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_quantize_is_refused_and_names_what_does(task, mode):
    message = rf"`quantize` must not .*'{mode}'.*from_preset\(preset, weights=.int8.\)"
    with pytest.raises(ValueError, match=message):
        task.quantize(mode)
    with pytest.raises(ValueError, match="dtype=NarrowWeights"):
        task.backbone.quantize(mode)
    with pytest.raises(ValueError, match='dtype="bfloat16"'):
        task.vqgan.quantize(mode)


# === Exporting ===


def test_export_writes_what_the_command_writes(tmp_path):
    export_to_folder(ToyTask(), tmp_path / "models" / "3")
    expected = export_toy(tmp_path / "by_command")
    files = [
        {path.relative_to(folder) for path in folder.rglob("*")}
        for folder in (tmp_path / "models" / "3", expected)
    ]
    assert files[0] == files[1]
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["3"]
    with pytest.raises(FileExistsError, match="models/3 exists already. Name"):
        export_to_folder(ToyTask(), tmp_path / "models" / "3")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "onnx"}, "Received: format='onnx'"),
        ({"input_signature": [tf.TensorSpec([None])]}, "input_signature=.*TensorSpec"),
    ],
)
def test_other_exports_are_refused(task, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        task.export(tmp_path / "model", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["vqgan", "preprocessor"])
def test_what_cannot_draw_is_not_exported(task, missing, tmp_path):
    parts = {"preprocessor": task.preprocessor, "vqgan": task.vqgan, missing: None}
    with pytest.raises(ValueError, match=f"needs a .*{missing}"):
        DalleBartTextToImage(task.backbone, **parts).export(tmp_path / "model")


# === Copying ===


def test_copies_have_all_that_a_model_has(task):
    other = copy.deepcopy(task)
    for found, expected in zip(other.variables, task.variables, strict=True):
        np.testing.assert_array_equal(found, expected)
    for part in (other.preprocessor, pickle.loads(pickle.dumps(task.preprocessor))):
        assert part.get_config() == task.preprocessor.get_config()
        assert part.tokenizer.merges == task.preprocessor.tokenizer.merges


def test_a_clone_is_the_training_graph(task):
    """Keras clones only that graph of any KerasHub task."""
    inputs = {
        "encoder_token_ids": np.array([[0, 5, 2, 1]]),
        "encoder_padding_mask": np.array([[1, 1, 1, 0]]),
        "image_tokens": np.array([[3, 1, 4]]),
    }
    clone = keras.models.clone_model(task)
    clone.set_weights(task.backbone.get_weights())
    np.testing.assert_array_equal(clone(inputs), task(inputs))
