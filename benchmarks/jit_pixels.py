"""How far pictures of an export with `jit` are from those of a plain one.

PYTHONPATH=. python benchmarks/jit_pixels.py

Exports a preset both ways, draws the same rows from both by the session that a server
holds, and prints how many tokens and pixels differ.
"""

# B pictures, T image tokens, H height, W width

import argparse
import tempfile

import numpy as np
import tensorflow as tf

from keras_dalle.commands.preset_names import load_task
from keras_dalle.demo import DEFAULT_PROMPTS
from keras_dalle.prediction_service.session import SavedModelSession
from keras_dalle.saved_model.exporter import export_saved_model

ROWS_AT_ONCE = 8


def drawn(task, seeds, folder, jit):
    """Pixels [B, H, W, 3] and tokens [B, T] of an export."""
    path = export_saved_model(task, folder, jit=jit, warmup_batch_sizes=())
    session = SavedModelSession(path)
    signature = session.signatures["generate"]
    names = [signature.outputs[alias].name for alias in ("image", "image_tokens")]
    parts = [session.run(feeds(signature, seed), names) for seed in seeds]
    session.close()
    return (np.concatenate(arrays).astype(int) for arrays in zip(*parts, strict=True))


def feeds(signature, seed):
    """A row of each prompt, with the signature's defaults."""
    columns = {
        alias: np.repeat(tf.make_ndarray(proto), ROWS_AT_ONCE)
        for alias, proto in signature.defaults.items()
    }
    columns["prompt"] = np.array([p.encode() for p in DEFAULT_PROMPTS], object)
    columns["seed"] = np.full(ROWS_AT_ONCE, seed)
    return {signature.inputs[alias].name: x for alias, x in columns.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="emoji_tiny")
    parser.add_argument("--weights", choices=("float32", "bfloat16", "int8"))
    parser.add_argument("--seeds", type=int, default=16, help="pictures a prompt")
    arguments = parser.parse_args()
    task = load_task(arguments.preset, arguments.weights)
    with tempfile.TemporaryDirectory() as folder:
        plain, compiled = (
            tuple(drawn(task, range(arguments.seeds), f"{folder}/{jit}", jit))
            for jit in (False, True)
        )
    pixels, tokens = (np.abs(a - b) for a, b in zip(plain, compiled, strict=True))
    same_B = (tokens == 0).all(axis=1)
    print(f"{len(same_B)} pictures, {same_B.sum()} with the same tokens")
    kept = pixels[same_B]
    if kept.size:
        values = np.unique(kept, return_counts=True)
        for difference, count in zip(*values, strict=True):
            print(f"values {difference} apart: {count:,} of {kept.size:,}")
        different = (kept.reshape(len(kept), -1) > 0).any(axis=1)
        print(f"pictures with a value that differs: {different.sum()}")


if __name__ == "__main__":
    main()
