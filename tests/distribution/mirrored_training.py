"""Trains on one CPU and on two: `python -m tests.distribution.mirrored_training`.

Prints, as JSON, by optimizer how far losses and weights are apart.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_dalle.distribution.strategies import make_strategy
from keras_dalle.layers.embedding import Embedding
from keras_dalle.models import DalleBartBackbone, DalleBartTextToImage
from keras_dalle.optimizers.adamw import AdamW
from keras_dalle.optimizers.distributed_shampoo import DistributedShampoo
from keras_dalle.optimizers.schedules import WarmUp

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


CASES = {
    "sgd": (trained_embedding, lambda: keras.optimizers.SGD(0.1, momentum=0.9)),
    "adamw": (trained_task, lambda: keras.optimizers.AdamW(WarmUp(1e-2, 1))),
    "fused_adamw": (trained_task, lambda: AdamW(WarmUp(1e-2, 1))),
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
