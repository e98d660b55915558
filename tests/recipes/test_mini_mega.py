"""The recipes of DALL·E mini and Mega, scaled down in width, train and save."""

import re

import keras
import numpy as np
import pytest

from benchmarks.generate_models import MINI
from benchmarks.mega_memory import MEGA
from keras_dalle import recipes
from keras_dalle.data.token_records import token_batches
from keras_dalle.models import DalleBartTextToImage
from keras_dalle.models.dalle_bart.dalle_bart_presets import BACKBONE_PRESETS
from keras_dalle.recipes.mega import mega_recipe
from keras_dalle.recipes.mini import mini_recipe
from keras_dalle.trainer.fine_tuning import FineTuning
from keras_dalle.trainer.trainer import train
from tests.recipes.small_recipes import (
    IMAGE_LENGTH,
    scaled_down,
    write_data,
    write_tokenizer,
)

RECIPES = {"mini": mini_recipe, "mega": mega_recipe}
# Rows of the text embedding in the published configurations.
TEXT_VOCABULARIES = {"mini": 50264, "mega": 50272}


@pytest.mark.parametrize("name, measured", [("mini", MINI), ("mega", MEGA)])
def test_benchmarks_measure_what_the_recipes_train(name, measured):
    trained = {"vocabulary_size": TEXT_VOCABULARIES[name]} | RECIPES[name]().backbone
    assert {key: trained[key] for key in measured} == measured


@pytest.fixture(scope="module")
def data_directory(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.mark.parametrize("name", RECIPES)
def test_two_updates(name, data_directory, tokenizer, tmp_path):
    assert name in recipes.RECIPES
    run = scaled_down(RECIPES[name](), tokenizer).training_run(data_directory)
    preset = train(run, tmp_path)
    optimizer = run.model.optimizer
    assert type(optimizer).__name__ == "DistributedShampoo"
    assert optimizer.gradient_accumulation_steps == 3
    (encoder_layer,) = run.model.backbone.encoder_layers
    assert hasattr(encoder_layer.call, "recomputes") == (name == "mega")
    assert int(optimizer.iterations) == 2
    # Keras's schedules count batches.
    warmup_batches = 3 * (2000 if name == "mini" else 10_000)
    assert float(optimizer.learning_rate) == pytest.approx(
        6e-4 / (warmup_batches + 1), rel=1e-5
    )
    # KerasHub cannot read the name of a mixed policy that a preset was saved with.
    loaded = DalleBartTextToImage.from_preset(str(preset), dtype="float32")
    pairs = zip(loaded.weights, run.model.weights, strict=True)
    for weight, expected in pairs:
        np.testing.assert_array_equal(weight, expected, err_msg=weight.path)


@pytest.mark.parametrize("name", RECIPES)
def test_published_width(name):
    fields = RECIPES[name]().backbone
    width, image_rows = fields["hidden_dim"], fields["image_vocabulary_size"] + 1
    rows = TEXT_VOCABULARIES[name] + 64 + 256 + 2 * image_rows
    feed_forward = 3 * width * fields["encoder_intermediate_dim"]
    layers = fields["num_encoder_layers"] * (12 * width**2 + 2 * feed_forward)
    # All but the norms.
    published = BACKBONE_PRESETS[f"dalle_{name}"]["metadata"]["params"]
    assert rows * width + layers == pytest.approx(published, rel=1e-3)


def test_mutations_do_not_reach_the_next_recipe():
    mega_recipe().backbone["hidden_dim"] = 1
    assert mini_recipe().backbone["hidden_dim"] == 1024
    assert mega_recipe().backbone["hidden_dim"] == 2048


@pytest.mark.parametrize(
    "fine_tuning, trained",
    [
        (FineTuning(embeddings_only=True), r"image_|decoder_final_norm"),
        (FineTuning(frozen_encoder=True), r"image_|decoder_"),
        (FineTuning(lora_rank=2), r".*/(query|value)/lora_kernel_[ab]$"),
    ],
    ids=["embeddings", "frozen encoder", "lora"],
)
def test_fine_tuning_of_a_preset(
    fine_tuning, trained, data_directory, tokenizer, tmp_path
):
    first = scaled_down(mini_recipe(), tokenizer)
    first.optimizer = keras.optimizers.SGD
    task = first.build()
    task.save_to_preset(str(tmp_path))
    before = {weight.path: weight.numpy() for weight in task.backbone.weights}

    second = scaled_down(mini_recipe(), tokenizer)
    second.optimizer = lambda: keras.optimizers.SGD(0.1)
    second.preset = str(tmp_path)
    second.fine_tuning = fine_tuning
    run = second.training_run(data_directory)
    run.model.fit(run.training_data(0), steps_per_epoch=2, verbose=0)
    weights = run.model.backbone.weights
    assert {w.path for w in run.model.trainable_weights} == {
        w.path for w in weights if re.match(trained, w.path)
    }
    for weight in weights:
        # The factors of LoRA are new.
        if weight.path in before:
            is_kept = np.array_equal(weight, before[weight.path])
            assert is_kept != weight.trainable, weight.path


def test_mirrored_cannot_accumulate(data_directory, tokenizer):
    recipe = scaled_down(mini_recipe(), tokenizer)
    recipe.strategy = "mirrored"
    with pytest.raises(ValueError, match=r"_steps` \(=3\) must be None.*_per_replica`"):
        recipe.training_run(data_directory)


@pytest.mark.parametrize("strategy", ["mirrored", "tpu"])
def test_a_mesh_takes_the_place_of_a_strategy(strategy, data_directory, tokenizer):
    recipe = scaled_down(mini_recipe(), tokenizer)
    recipe.strategy, recipe.mesh = strategy, {"batch": 1, "model": 1}
    with pytest.raises(ValueError, match=rf"(?s)'{strategy}'\) must be 'default'"):
        recipe.training_run(data_directory)


def test_padding_is_for_a_mesh(data_directory, tokenizer):
    recipe = scaled_down(mini_recipe(), tokenizer)
    recipe.pad_to_multiple_of = 8
    with pytest.raises(ValueError, match=r"goes with a `mesh`. Received: 8 without"):
        recipe.training_run(data_directory)


# === Data ===


def test_batches_from_any_step_on(data_directory):
    def batches(first_step, count):
        dataset = token_batches(
            data_directory, IMAGE_LENGTH, 3, seed=1, first_step=first_step
        )
        # `fit` with a strategy, and Orbit, look at a batch by an iterator of its own.
        looked_at = next(dataset.as_numpy_iterator())
        rows = list(dataset.take(count).as_numpy_iterator())
        np.testing.assert_array_equal(rows[0]["captions"], looked_at["captions"])
        return rows

    # 16 rows: the second pass begins within the sixth batch.
    whole, rest = batches(0, 9), batches(4, 5)
    for expected, batch in zip(whole[4:], rest, strict=True):
        np.testing.assert_array_equal(batch["captions"], expected["captions"])
        np.testing.assert_array_equal(batch["image_tokens"], expected["image_tokens"])
    captions = np.concatenate([batch["captions"] for batch in whole])
    assert len(set(captions[:16])) == 16
    assert list(captions[:11]) != list(captions[16:])


def test_a_folder_without_shards(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must hold train-\*.tfrecord"):
        token_batches(tmp_path, IMAGE_LENGTH, 2, seed=0)
