"""Trains by a recipe: python -m training.train --recipe emoji_tiny."""

import argparse
from pathlib import Path

from keras_dalle import recipes
from keras_dalle.utils.tensorflow_start import prepare_tensorflow


def main() -> None:
    prepare_tensorflow()
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
