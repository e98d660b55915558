"""Trains by a recipe: python -m training.train --recipe emoji_tiny."""

import argparse
import os
from pathlib import Path

from keras_dalle import recipes


def main() -> None:
    # Keras and TensorFlow, which read these, are imported no earlier than below.
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    # TensorFlow's own default is on only where a CPU has AVX-512. With AVX2 alone a
    # step takes a quarter less time with it, see docs/benchmarks.md.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Example: python -m training.train --recipe emoji_vqgan "
        "--run-dir runs/emoji_vqgan",
    )
    parser.add_argument("--recipe", required=True, choices=recipes.RECIPES)
    parser.add_argument("--run-dir", type=Path, help="default: runs/RECIPE")
    parser.add_argument("--data-dir", type=Path, default=recipes.DATA_DIRECTORY)
    arguments = parser.parse_args()
    run_directory = arguments.run_dir or Path("runs") / arguments.recipe
    from keras_dalle.distribution.processes import is_first_process, join

    with join():
        preset = recipes.run(arguments.recipe, run_directory, arguments.data_dir)
        if is_first_process():
            print(f"The trained preset is in {preset}.")


if __name__ == "__main__":
    main()
