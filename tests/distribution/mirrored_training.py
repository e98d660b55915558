"""Trains on one CPU and on two: `python -m tests.distribution.mirrored_training`.

Prints, as JSON, by optimizer how far losses and weights are apart.
"""

import atexit
import functools
import json
import shutil
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_dalle.distribution.strategies import make_strategy
from keras_dalle.layers.embedding import Embedding
from keras_dalle.models import DalleBartBackbone, DalleBartTextToImage
from keras_dalle.optimizers.adamw import AdamW
from keras_dalle.optimizers.distributed_shampoo import DistributedShampoo
from keras_dalle.optimizers.schedules import WarmUp
from keras_dalle.recipes.mini import mini_recipe
from tests.recipes.small_recipes import scaled_down, write_data, write_tokenizer

TEXT_LENGTH, IMAGE_LENGTH, CODES = 4, 4, 8


def tiny_task() -> DalleBartTextToImage:
    """A transformer of two layers on inputs that are preprocessed already."""
    backbone = DalleBartBackbone(
        vocabulary_size=10,
        image_vocabulary_size=CODES,
        num_encoder_layers=1,
        num_decoder_layers=1,
        num_heads=2,
        hidden_dim=8,
        encoder_intermediate_dim=12,
        decoder_intermediate_dim=12,
        max_text_length=TEXT_LENGTH,
        image_length=IMAGE_LENGTH,
        init_std=0.2,
    )
    return DalleBartTextToImage(backbone)


def tiny_batches(rows=16, batch_size=8) -> tf.data.Dataset:
    """Captions of few words, so that tokens occur many times."""
    rng = np.random.default_rng(0)
    image_tokens = rng.integers(0, CODES, (rows, IMAGE_LENGTH)).astype("int32")
    inputs = {
        "encoder_token_ids": rng.integers(3, 6, (rows, TEXT_LENGTH)).astype("int32"),
        "encoder_padding_mask": np.ones((rows, TEXT_LENGTH), "int32"),
        "image_tokens": image_tokens,
    }
    dataset = tf.data.Dataset.from_tensor_slices((inputs, image_tokens))
    return dataset.batch(batch_size, drop_remainder=True)


def trained_task(strategy, optimizer):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        task = tiny_task()
        task.compile(optimizer=optimizer())
    return task, task.fit(tiny_batches(), epochs=2, verbose=0, shuffle=False)


def trained_embedding(strategy, optimizer):
    """A model small enough for Shampoo's graph to be traced in seconds."""
    rng = np.random.default_rng(0)
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((3,), dtype="int32"), Embedding(6, 4), keras.layers.Dense(5)]
        )
        model.compile(optimizer=optimizer(), loss="mse", jit_compile=False)
    x, y = rng.integers(0, 3, (24, 3)), rng.normal(size=(24, 3, 5))
    return model, model.fit(x, y, batch_size=4, epochs=1, verbose=0, shuffle=False)


@functools.cache
def recipe_files() -> tuple[Path, str]:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return write_data(folder), write_tokenizer(folder / "tokenizer")


def trained_recipe(strategy, optimizer):
    """By the fields of mini's recipe; a batch has eight rows on all replicas."""
    data, tokenizer = recipe_files()
    replicas = strategy.num_replicas_in_sync
    recipe = scaled_down(mini_recipe(), tokenizer)
    recipe.strategy = "mirrored" if replicas > 1 else "default"
    recipe.batch_size_per_replica = 8 // replicas
    recipe.optimizer, recipe.dtype = optimizer, "float32"
    recipe.blank_caption_rate = 0.0
    run = recipe.training_run(data)
    assert run.model.distribute_strategy is strategy
    batches = run.training_data(0)
    return run.model, run.model.fit(batches, steps_per_epoch=3, epochs=2, verbose=0)


CASES = {
    "sgd": (trained_embedding, lambda: keras.optimizers.SGD(0.1, momentum=0.9)),
    "adamw": (trained_task, lambda: keras.optimizers.AdamW(WarmUp(1e-2, 1))),
    "fused_adamw": (trained_task, lambda: AdamW(WarmUp(1e-2, 1))),
    "recipe": (trained_recipe, lambda: keras.optimizers.AdamW(1e-2)),
    "shampoo": (
        trained_embedding,
        lambda: DistributedShampoo(
            1e-2, start_preconditioning_step=2, preconditioning_interval=2
        ),
    ),
}


def differences(train, optimizer) -> dict[str, float]:
    one, one_history = train(make_strategy("default"), optimizer)
    two, two_history = train(make_strategy("mirrored"), optimizer)
    assert two.distribute_strategy.num_replicas_in_sync == 2
    return {
        "losses": difference(one_history.history["loss"], two_history.history["loss"]),
        "weights": largest_difference(one.variables, two.variables),
        "optimizer": largest_difference(
            one.optimizer.variables, two.optimizer.variables
        ),
    }


def largest_difference(variables, others) -> float:
    return max(
        difference(a.numpy(), b.numpy()) for a, b in zip(variables, others, strict=True)
    )


def difference(a, b) -> float:
    """The largest, absolute below 1 and relative to the largest number above."""
    a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
    return float(np.max(np.abs(a - b)) / max(1.0, np.max(np.abs(a))))


def use_two_cpus() -> None:
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )


if __name__ == "__main__":
    use_two_cpus()
    json.dump({name: differences(*case) for name, case in CASES.items()}, sys.stdout)
