"""A scaled-down DALL·E Mega on the mesh that trained the real one: 8 × 32 devices.

Two layers a side, Mega's flags, Distributed Shampoo, three accumulated batches an
update, layers that are computed again for their gradients. Trains on one device and on
the mesh of virtual CPUs, compares losses and weights, and prints time and memory.

python -m benchmarks.mega_mesh
"""

import argparse
import os
import resource
import time

import keras
import numpy as np
import tensorflow as tf

from keras_dalle.distribution.dtensor import distribute
from keras_dalle.models import DalleBartBackbone, DalleBartTextToImage
from keras_dalle.recipes.mega import mega_recipe
from keras_dalle.trainer.gradient_checkpointing import checkpoint_gradients

ACCUMULATED = 3
UPDATES = 3
TOLERANCE = 1e-5
VOCABULARY_SIZE = 128
IMAGE_VOCABULARY_SIZE = 127
TEXT_LENGTH = IMAGE_LENGTH = 16


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=32, help="devices along batch")
    parser.add_argument("--model", type=int, default=8, help="devices along model")
    arguments = parser.parse_args()
    use_virtual_cpus(arguments.batch * arguments.model)

    in_one_place = compiled_task()
    expected = losses_of(in_one_place, arguments.batch)
    on_mesh = compiled_task()
    placement = distribute(
        on_mesh, {"batch": arguments.batch, "model": arguments.model}
    )
    start = time.perf_counter()
    losses = losses_of(on_mesh, arguments.batch, rounds=1)
    compilation = time.perf_counter() - start
    losses += losses_of(on_mesh, arguments.batch, first=1)
    step = (time.perf_counter() - start - compilation) / (len(losses) - 1)
    report(placement, compilation, step)
    placement.gather()
    compare("losses", [losses], [expected])
    compare("weights", on_mesh.get_weights(), in_one_place.get_weights())


def use_virtual_cpus(count: int) -> None:
    """Splits the CPU, before TensorFlow starts."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    devices = [tf.config.LogicalDeviceConfiguration()] * count
    tf.config.set_logical_device_configuration(cpu, devices)
    # It takes half of the compilation's time and changes no result.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def compiled_task() -> DalleBartTextToImage:
    """Mega's recipe in a width of 64, with roots from the first update on."""
    keras.utils.set_random_seed(0)
    recipe = mega_recipe()
    recipe.backbone.update(
        vocabulary_size=VOCABULARY_SIZE,
        image_vocabulary_size=IMAGE_VOCABULARY_SIZE,
        num_encoder_layers=2,
        num_decoder_layers=2,
        num_heads=8,
        hidden_dim=64,
        encoder_intermediate_dim=128,
        decoder_intermediate_dim=128,
        max_text_length=TEXT_LENGTH,
        image_length=IMAGE_LENGTH,
        decoder_start_token_id=IMAGE_VOCABULARY_SIZE,
    )
    task = DalleBartTextToImage(DalleBartBackbone(**recipe.backbone))
    checkpoint_gradients(task)
    config = recipe.optimizer().get_config()
    config.update(
        learning_rate=1e-3,
        block_size=64,
        merged_dim=64,
        start_preconditioning_step=1,
        preconditioning_interval=1,
    )
    task.compile(optimizer=type(recipe.optimizer()).from_config(config))
    assert task.optimizer.gradient_accumulation_steps == ACCUMULATED
    return task


def losses_of(task, rows: int, first: int = 0, rounds: int | None = None) -> list:
    """Losses of batches, one row for each device along `batch`."""
    last = UPDATES * ACCUMULATED if rounds is None else first + rounds
    return [
        task.train_on_batch(*batch(i, rows), return_dict=True)["loss"]
        for i in range(first, last)
    ]


def batch(seed: int, rows: int):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, TEXT_LENGTH + 1, (rows, 1))
    tokens = rng.integers(0, IMAGE_VOCABULARY_SIZE, (rows, IMAGE_LENGTH))
    inputs = {
        "encoder_token_ids": rng.integers(3, VOCABULARY_SIZE, (rows, TEXT_LENGTH)),
        "encoder_padding_mask": np.arange(TEXT_LENGTH) < lengths,
        "image_tokens": tokens,
    }
    inputs = {name: values.astype("int32") for name, values in inputs.items()}
    return inputs, inputs["image_tokens"]


def report(placement, compilation: float, step: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"devices: {placement.mesh.size}, on {os.cpu_count()} cores")
    print(f"first step, with compilation: {compilation:.0f} s")
    print(f"mean of the later steps: {step:.2f} s")
    print(f"peak memory of the process: {peak:.1f} GiB")
    print(f"weights and slots of one device: {placement.bytes_per_device / 1e6:.2f} MB")


def compare(what: str, ours, expected) -> None:
    difference = max(
        float(np.max(np.abs(np.asarray(a) - np.asarray(b))))
        for a, b in zip(ours, expected, strict=True)
    )
    print(f"largest difference of {what}: {difference:.1e}")
    if not difference <= TOLERANCE:
        raise SystemExit(f"{what} differ by more than {TOLERANCE}.")


if __name__ == "__main__":
    main()
