"""Recipes: complete training runs, by name.

A recipe is a function of a run folder and a data folder that returns a `TrainingRun`.
Its module's docstring says what it promises: hardware, time, result and command.
"""

import difflib
import importlib
import os
from pathlib import Path

from keras_dalle.utils.writable import check_folder_place

RECIPES = ("emoji_vqgan", "emoji_tiny", "mini", "mega")
DATA_DIRECTORY = Path("runs/emoji_data")


def run(
    name: str,
    run_directory: str | os.PathLike,
    data_directory: str | os.PathLike = DATA_DIRECTORY,
) -> Path:
    """Trains by a recipe, or goes on with a run that was stopped.

    Args:
        name: one of `RECIPES`.
        run_directory: checkpoints, logs, samples and, at the end, `preset/`.
        data_directory: the data set, which is made there first if it is missing.

    Returns:
        The folder of the trained preset.

    Raises:
        ValueError: there is no such recipe.
        OSError: the run's folder cannot be written, or its disk is full.
    """
    if name not in RECIPES:
        nearest = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.4)
        hint = f" Did you mean {nearest[0]}?" if nearest else ""
        known = ", ".join(RECIPES)
        raise ValueError(f"Unknown recipe: {name}.{hint} Recipes: {known}.")
    check_folder_place(run_directory)
    from keras_dalle.trainer.trainer import train

    recipe = getattr(importlib.import_module(f"{__name__}.{name}"), name)
    run_directory = Path(run_directory)
    return train(recipe(run_directory, Path(data_directory)), run_directory)
