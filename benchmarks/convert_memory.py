"""The memory that `keras-dalle convert` needs for a checkpoint of Mega's shape.

Writes a scanned Flax checkpoint with DALL·E Mega's widths, random weights and fewer
layers, converts it in a fresh process, loads it in another one, and compares the peak
of each one's resident memory (VmHWM, so on Linux alone) with the checkpoint's size.

python benchmarks/convert_memory.py --layers 6 --json
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from keras_dalle.converters.dalle_bart import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    dalle_bart_table,
    stack_layers,
)
from keras_dalle.converters.dalle_bart_config import (
    config_from_original,
    original_from_backbone,
)
from keras_dalle.converters.flax import write_flax_msgpack
from keras_dalle.converters.mapping import model_tensors
from keras_dalle.converters.tensors import StoredTensor
from keras_dalle.models import DalleBartBackbone

# The original's field -> Mega's size, and a small one to find the axes by: no two are
# equal, and all are above any number of layers.
SIZES = {
    "encoder_vocab_size": (50272, 101),
    "image_vocab_size": (16415, 106),
    "d_model": (2048, 104),
    "encoder_ffn_dim": (4096, 103),
    "decoder_ffn_dim": (4096, 109),
    "max_text_length": (64, 111),
    "image_length": (256, 113),
}
HEADS = {"encoder_attention_heads": (32, 2), "decoder_attention_heads": (32, 2)}
CODEBOOK_SIZE = 16384

# Runs code and then says how much memory the process had at most.
PROBE = """
import sys
try:
    {code}
finally:
    with open("/proc/self/status") as status:
        print(next(line for line in status if line.startswith("VmHWM")), end="")
"""
BASELINE = (
    "import keras_dalle.converters.conversion, tensorflow; tensorflow.zeros(1).numpy()"
)
CONVERT = "import keras_dalle.cli; keras_dalle.cli.app({arguments!r})"
LOAD = (
    "from keras_dalle.models import DalleBartBackbone; "
    "DalleBartBackbone.from_preset({source!r})"
)

# === The checkpoint ===


def write_checkpoint(directory: Path, layers: int) -> int:
    """Writes Mega's config.json and flax_model.msgpack; returns the bytes of both."""
    fields = SIZES | HEADS
    depth = {"encoder_layers": layers, "decoder_layers": layers}
    small = {name: size for name, (_, size) in fields.items()} | depth
    backbone = DalleBartBackbone(**config_from_original(small))
    config = original_from_backbone(backbone) | {
        name: size for name, (size, _) in fields.items()
    }
    config["decoder_start_token_id"] = CODEBOOK_SIZE
    (directory / CONFIG_FILE).write_text(json.dumps(config), encoding="utf-8")
    axes = {small_size: size for size, small_size in SIZES.values()}
    # The image embedding and the head have one row more.
    axes[small["image_vocab_size"] + 1] = config["image_vocab_size"] + 1
    tensors = {
        name: random_tensor(tuple(axes.get(n, n) for n in tensor.shape))
        for name, tensor in stack_layers(
            model_tensors(backbone, dalle_bart_table(backbone))
        ).items()
    }
    write_flax_msgpack(directory / WEIGHTS_FILE, tensors)
    return sum(path.stat().st_size for path in directory.iterdir())


def random_tensor(shape: tuple[int, ...]) -> StoredTensor:
    """A float32 tensor of one megabyte of noise over and over, made when written."""

    def read() -> np.ndarray:
        noise = np.random.default_rng(math.prod(shape)).standard_normal(2**18)
        return np.resize(0.02 * noise.astype("float32"), shape)

    return StoredTensor(shape, np.dtype("float32"), read)


# === The measurement ===


def peak_memory(code: str) -> int:
    """The most resident bytes of a fresh process that runs `code`."""
    result = subprocess.run(
        [sys.executable, "-c", PROBE.format(code=code)],
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return 1024 * int(result.stdout.split("VmHWM:")[1].split()[0])


def measure(directory: Path, layers: int) -> dict[str, float]:
    """Sizes in bytes, seconds, and ratios to the checkpoint's size."""
    source, target = directory / "mega", directory / "preset"
    source.mkdir()
    size = write_checkpoint(source, layers)
    baseline = peak_memory(BASELINE)
    figures = {"layers": layers, "checkpoint_bytes": size, "baseline_bytes": baseline}
    arguments = ["convert", str(source), "--to", str(target)]
    codes = {
        "convert": CONVERT.format(arguments=arguments),
        "load": LOAD.format(source=str(source)),
    }
    for name, code in codes.items():
        start = time.perf_counter()
        peak = peak_memory(code)
        figures[f"{name}_seconds"] = time.perf_counter() - start
        figures[f"{name}_peak_bytes"] = peak
        figures[f"{name}_ratio"] = peak / size
        figures[f"{name}_ratio_without_baseline"] = (peak - baseline) / size
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--layers", type=int, default=6, help="Of each side.")
    parser.add_argument("--json", action="store_true", help="Print JSON.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        figures = measure(Path(directory), arguments.layers)
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:32} {value:,.2f}")


if __name__ == "__main__":
    main()
