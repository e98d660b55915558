"""The memory in which DALL·E Mega (2.6 billion weights) draws a picture.

Writes a preset of Mega's shape with random narrow weights, variable by variable, and
draws one picture from it in a fresh process: all 256 tokens with guidance, and the
pixels by a VQGAN of the released size. Prints the peak of resident memory (VmHWM, so
Linux alone) after each step, and the seconds of each.

PYTHONPATH=. python benchmarks/mega_memory.py --weights bfloat16
PYTHONPATH=. python benchmarks/mega_memory.py --weights int8
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.generate_models import MINI, preprocessor_of_bytes
from benchmarks.workers import peak_bytes

# As `keras_dalle/recipes/mega.py` has it.
MEGA = MINI | {
    "vocabulary_size": 50272,
    "image_vocabulary_size": 16415,
    "num_encoder_layers": 24,
    "num_decoder_layers": 24,
    "num_heads": 32,
    "hidden_dim": 2048,
    "encoder_intermediate_dim": 4096,
    "decoder_intermediate_dim": 4096,
    "decoder_start_token_id": 16384,
}
PROMPT = "an armchair in the shape of an avocado"


def write_preset(folder, weights):
    """A preset whose variables are filled one by one."""
    import numpy as np

    from keras_dalle.layers.narrow_weights import NarrowWeights
    from keras_dalle.models import (
        DalleBartBackbone,
        DalleBartTextToImage,
        VQGANBackbone,
    )

    backbone = DalleBartBackbone(**MEGA, dtype=NarrowWeights(weights))
    noise = np.random.default_rng(0).standard_normal(2**20).astype("float32")
    for variable in backbone.weights:
        variable.assign(_values(variable, noise))
    preprocessor = preprocessor_of_bytes()
    task = DalleBartTextToImage(backbone, preprocessor, VQGANBackbone())
    task.save_to_preset(folder)
    return {"parameters": backbone.count_params()}


def _values(variable, noise):
    import numpy as np

    if variable.name == "kernel_step":
        return np.full(variable.shape, 0.06 / 127, "float32")
    if variable.name == "gamma":
        return np.ones(variable.shape, "float32")
    values = np.resize(noise, variable.shape)
    if variable.dtype == "uint8":
        return np.clip(values * 42 + 128, 1, 255).astype("uint8")
    return (0.02 * values).astype(variable.dtype)


def draw(folder, weights):
    """Loads the preset and draws."""
    from keras_dalle.models import DalleBartTextToImage

    figures = {"imported_bytes": peak_bytes()}
    start = time.perf_counter()
    task = DalleBartTextToImage.from_preset(folder)
    figures |= {
        "load_seconds": time.perf_counter() - start,
        "loaded_bytes": peak_bytes(),
        "backbone_bytes": sum(
            variable.value.dtype.size * variable.value.shape.num_elements()
            for variable in task.backbone.weights
        ),
    }
    for call in ("first", "second"):
        start = time.perf_counter()
        image = task.generate(PROMPT, seed=0, guidance_scale=10.0)
        figures[f"{call}_picture_seconds"] = time.perf_counter() - start
    return figures | {"image": list(image.shape), "peak_bytes": peak_bytes()}


STEPS = {"write": write_preset, "draw": draw}


def in_fresh_process(step, *arguments):
    result = subprocess.run(
        [sys.executable, __file__, "--step", step, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(result.stdout.strip().rpartition("\n")[2])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", default="bfloat16", help="bfloat16 or int8.")
    parser.add_argument("--folder", help="A preset that is kept, and used if there.")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(STEPS[options.step](options.folder, options.weights)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or f"{temporary}/preset"
        arguments = ["--folder", folder, "--weights", options.weights]
        if not Path(folder).is_dir():
            print(in_fresh_process("write", *arguments))
        for name, value in in_fresh_process("draw", *arguments).items():
            print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
