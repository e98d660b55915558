"""A scaled-down DALL·E Mega on the mesh that trained the real one: 32 × 8 devices.

Two layers a side, Mega's flags, Distributed Shampoo, three accumulated batches an
update, layers that are computed again for their gradients. Trains on one device and on
the mesh of virtual CPUs, compares losses and weights, and prints time and memory.

In one process, or in several that share the devices out, as those of a TPU pod do:

python -m benchmarks.mega_mesh --batch 2 --model 4
python -m training.launch --processes 8 --devices 32 -m benchmarks.mega_mesh
"""

import argparse
import os
import time
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_dalle.distribution.dtensor import distribute
from keras_dalle.distribution.process_rows import process_shard
from keras_dalle.distribution.processes import is_first_process, join
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
    # It takes half of the compilation's time and changes no result.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    with virtual_cpus(arguments.batch * arguments.model):
        compare_with_one_device(arguments.batch, arguments.model)


@contextmanager
def virtual_cpus(count: int):
    """Splits the CPU: as the launcher of this process says, or into `count`."""
    is_alone = "DTENSOR_JOBS" not in os.environ
    with join(cpu_devices=count if is_alone else None):
        yield


def compare_with_one_device(batch: int, model: int) -> None:
    """Trains on the mesh, and in the first process in one place as well."""
    if is_first_process():
        in_one_place = compiled_task()
        expected = losses_of(in_one_place, batch)
    on_mesh = compiled_task()
    placement = distribute(on_mesh, {"batch": batch, "model": model})
    shard = process_shard(placement.mesh)
    start = time.perf_counter()
    losses = losses_of(on_mesh, batch, shard, rounds=1)
    compilation = time.perf_counter() - start
    losses += losses_of(on_mesh, batch, shard, first=1)
    step = (time.perf_counter() - start - compilation) / (len(losses) - 1)
    report(placement, compilation, step)
    placement.gather()
    if is_first_process():
        compare("losses", [losses], [expected])
        compare("weights", on_mesh.get_weights(), in_one_place.get_weights())


def compiled_task() -> DalleBartTextToImage:
    """Mega's recipe with a 64th of its widths, and roots from the first update on."""
    keras.utils.set_random_seed(0)
    recipe = mega_recipe()
    recipe.backbone.update(
        vocabulary_size=VOCABULARY_SIZE,
        image_vocabulary_size=IMAGE_VOCABULARY_SIZE,
        num_encoder_layers=2,
        num_decoder_layers=2,
        num_heads=8,
        hidden_dim=32,
        encoder_intermediate_dim=64,
        decoder_intermediate_dim=64,
        max_text_length=TEXT_LENGTH,
        image_length=IMAGE_LENGTH,
        decoder_start_token_id=IMAGE_VOCABULARY_SIZE,
    )
    task = DalleBartTextToImage(DalleBartBackbone(**recipe.backbone))
    checkpoint_gradients(task)
    config = recipe.optimizer().get_config()
    config.update(
        learning_rate=1e-3,
        block_size=32,
        max_preconditioned_dim=64,
        merged_dim=64,
        start_preconditioning_step=1,
        preconditioning_interval=1,
    )
    task.compile(optimizer=type(recipe.optimizer()).from_config(config))
    assert task.optimizer.gradient_accumulation_steps == ACCUMULATED
    return task


def losses_of(task, rows: int, shard=(1, 0), first=0, rounds=None) -> list:
    """Losses of batches, one row for each device along `batch`.

    Args:
        task: what is trained.
        rows: of a batch, of all processes.
        shard: as of `process_shard`, which of them are this process's.
        first: of the batches.
        rounds: number of batches; `None` for all that are left.
    """
    last = UPDATES * ACCUMULATED if rounds is None else first + rounds
    count, index = shard
    mine = slice(index * rows // count, (index + 1) * rows // count)
    return [
        task.train_on_batch(
            *keras.tree.map_structure(lambda x: x[mine], batch(i, rows)),
            return_dict=True,
        )["loss"]
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
    print(f"devices: {placement.mesh.size}, on {os.cpu_count()} cores")
    print(f"first step, with compilation: {compilation:.0f} s")
    print(f"mean of the later steps: {step:.2f} s")
    peak = kibibytes("status", "VmHWM") / 2**20
    # Of what several processes share, each counts its part alone.
    share = kibibytes("smaps_rollup", "Pss") / 2**20
    print(f"memory of the process: {peak:.2f} GiB at most, {share:.2f} GiB now")
    print(f"weights and slots of one device: {placement.bytes_per_device / 1e6:.2f} MB")


def kibibytes(file: str, name: str) -> int:
    """What Linux says of this process."""
    lines = Path("/proc/self", file).read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1])


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
