"""The recipes of DALL·E mini and Mega, scaled down in width, train and save."""

import keras
import numpy as np
import pytest

from benchmarks.generate_models import MINI
from benchmarks.mega_memory import MEGA
from keras_dalle import recipes
from keras_dalle.data.token_records import token_batches, write_token_records
from keras_dalle.models import (
    DalleBartTextToImage,
    DalleBartTextToImagePreprocessor,
    DalleBartTokenizer,
)
from keras_dalle.models.dalle_bart.dalle_bart_presets import BACKBONE_PRESETS
from keras_dalle.optimizers.distributed_shampoo import DistributedShampoo
from keras_dalle.recipes.mega import mega_recipe
from keras_dalle.recipes.mini import mini_recipe
from keras_dalle.text.vocabulary import train_vocabulary
from keras_dalle.trainer.fine_tuning import FineTuning
from keras_dalle.trainer.trainer import train
from tests.distribution.mirrored_training import tiny_task

IMAGE_LENGTH = 4
CODES = 16
RECIPES = {"mini": mini_recipe, "mega": mega_recipe}
# Rows of the text embedding in the published configurations.
TEXT_VOCABULARIES = {"mini": 50264, "mega": 50272}


@pytest.mark.parametrize("name, measured", [("mini", MINI), ("mega", MEGA)])
def test_benchmarks_measure_what_the_recipes_train(name, measured):
    trained = {"vocabulary_size": TEXT_VOCABULARIES[name]} | RECIPES[name]().backbone
    assert {key: trained[key] for key in measured} == measured


@pytest.fixture(scope="module")
def data_directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for shard in range(2):
        write_token_records(
            directory / f"train-{shard}.tfrecord",
            [f"caption {shard} {row}" for row in range(8)],
            rng.integers(0, CODES, (8, IMAGE_LENGTH)),
        )
    return directory


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """The smallest vocabulary: Shampoo's matrices are as large as its largest one."""
    directory = str(tmp_path_factory.mktemp("tokenizer"))
    tokenizer = DalleBartTokenizer(*train_vocabulary(["caption"], 270))
    task = tiny_task()
    task.preprocessor = DalleBartTextToImagePreprocessor(tokenizer)
    task.save_to_preset(directory)
    return directory


def scaled_down(recipe, tokenizer):
    """A variant for two cores: one narrow layer a side, and one device."""
    recipe.backbone.update(
        image_vocabulary_size=CODES,
        decoder_start_token_id=CODES,
        num_encoder_layers=1,
        num_decoder_layers=1,
        num_heads=2,
        hidden_dim=8,
        encoder_intermediate_dim=8,
        decoder_intermediate_dim=8,
        max_text_length=8,
        image_length=IMAGE_LENGTH,
    )
    recipe.optimizer = narrow(recipe.optimizer)
    recipe.tokenizer, recipe.vqgan = tokenizer, None
    recipe.strategy, recipe.mesh, recipe.steps_per_execution = "default", None, 1
    recipe.batch_size_per_replica = 4
    recipe.epochs, recipe.steps_per_epoch = 1, 6
    return recipe


def narrow(make_optimizer):
    """The optimizer for kernels of a few rows; embeddings stay unpreconditioned."""

    def make():
        config = make_optimizer().get_config()
        config.update(merged_dim=None, block_size=16, max_preconditioned_dim=16)
        return DistributedShampoo.from_config(config)

    return make


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


def test_fine_tuning_of_a_preset(data_directory, tokenizer, tmp_path):
    first = scaled_down(mini_recipe(), tokenizer)
    first.optimizer = keras.optimizers.SGD
    task = first.build()
    task.save_to_preset(str(tmp_path))

    second = scaled_down(mini_recipe(), tokenizer)
    second.optimizer = lambda: keras.optimizers.SGD(0.1)
    second.preset = str(tmp_path)
    second.fine_tuning = FineTuning(lora_rank=2)
    run = second.training_run(data_directory)
    run.model.fit(run.training_data(0), steps_per_epoch=2, verbose=0)
    for weight in task.backbone.weights:
        (kept,) = [w for w in run.model.backbone.weights if w.path == weight.path]
        np.testing.assert_array_equal(kept, weight, err_msg=weight.path)
    assert {w.name for w in run.model.trainable_weights} == {
        "lora_kernel_a",
        "lora_kernel_b",
    }


def test_mirrored_cannot_accumulate(data_directory, tokenizer):
    recipe = scaled_down(mini_recipe(), tokenizer)
    recipe.strategy = "mirrored"
    with pytest.raises(ValueError, match=r"_steps` \(=3\) must be None.*_per_replica`"):
        recipe.training_run(data_directory)


# === Data ===


def test_batches_from_any_step_on(data_directory):
    def batches(first_step, count):
        dataset = token_batches(
            data_directory, IMAGE_LENGTH, 3, seed=1, first_step=first_step
        )
        return list(dataset.take(count).as_numpy_iterator())

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
