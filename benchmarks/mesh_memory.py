"""Peak memory of a training step on a mesh, a device, with and without layout rules.

The devices are virtual CPUs of one process, whose peak is divided among them. The model
is one layer a side, wide in what layouts are for: attention weights and logits.

python -m benchmarks.mesh_memory
"""

import argparse
import resource
import subprocess
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_dalle.distribution.dtensor import distribute
from keras_dalle.distribution.layout_rules import DALLE_BART_ACTIVATIONS
from keras_dalle.models import DalleBartBackbone, DalleBartTextToImage

DEVICES = 8
ROWS, HEADS, IMAGE_LENGTH, IMAGE_VOCABULARY_SIZE = 8, 8, 256, 16383
LOGITS_MB = ROWS * IMAGE_LENGTH * (IMAGE_VOCABULARY_SIZE + 1) * 4 / 1e6
ATTENTION_MB = ROWS * HEADS * IMAGE_LENGTH**2 * 4 / 1e6
CASES = {
    "2x4": (2, 4, True),
    "1x8": (1, 8, True),
    "8x1": (8, 1, True),
    "1x8 without": (1, 8, False),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", choices=CASES, help="run this one in this process")
    case = parser.parse_args().case
    if case:
        print(f"{peak_megabytes(*CASES[case]):.0f}")
        return
    print(f"all logits: {LOGITS_MB:.0f} MB, a layer's attention: {ATTENTION_MB:.0f} MB")
    print("| mesh, batch × model | activation rules | peak MB a device |")
    print("|---|---|---|")
    for name, (_, _, has_rules) in CASES.items():
        command = [sys.executable, "-m", "benchmarks.mesh_memory", "--case", name]
        output = subprocess.run(command, capture_output=True, text=True, check=True)
        mesh = name.partition(" ")[0].replace("x", " × ")
        rules = "yes" if has_rules else "no"
        print(f"| {mesh} | {rules} | {output.stdout.split()[-1]} |", flush=True)


def peak_megabytes(batch: int, model: int, has_rules: bool) -> float:
    """Growth of the process's peak during three steps, divided among its devices."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * DEVICES
    )
    task = DalleBartTextToImage(
        DalleBartBackbone(
            vocabulary_size=64,
            image_vocabulary_size=IMAGE_VOCABULARY_SIZE,
            num_encoder_layers=1,
            num_decoder_layers=1,
            num_heads=HEADS,
            hidden_dim=64,
            encoder_intermediate_dim=64,
            decoder_intermediate_dim=64,
            image_length=IMAGE_LENGTH,
        )
    )
    task.compile(optimizer=keras.optimizers.SGD(0.1))
    distribute(
        task,
        {"batch": batch, "model": model},
        activation_rules=DALLE_BART_ACTIVATIONS if has_rules else (),
    )
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 64, (ROWS, IMAGE_LENGTH)).astype("int32")
    inputs = {
        "encoder_token_ids": tokens[:, :64],
        "encoder_padding_mask": np.ones_like(tokens[:, :64]),
        "image_tokens": tokens,
    }
    before = _peak()
    for _ in range(3):
        task.train_on_batch(inputs, tokens)
    return (_peak() - before) / DEVICES


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
