"""`keras-dalle train`: a recipe, by name."""

from pathlib import Path
from typing import Annotated

import typer

from keras_dalle.commands import options
from keras_dalle.recipes import DATA_DIRECTORY


def train(
    recipe: Annotated[str, typer.Option(help="The recipe's name, as emoji_tiny.")],
    run_dir: Annotated[
        Path | None,
        typer.Option(help="Checkpoints, logs and pictures. Default: runs/RECIPE."),
    ] = None,
    data_dir: options.DataDirectory = DATA_DIRECTORY,
) -> None:
    """Train by a recipe. A stopped run goes on where it was if it is started again."""
    from keras_dalle import recipes

    run_directory = run_dir or Path("runs") / recipe
    preset = recipes.run(recipe, run_directory, data_dir)
    typer.echo(f"The trained preset is in {preset}")
