"""`keras-dalle evaluate`: does a preset draw what it is asked for?"""

from pathlib import Path
from typing import Annotated

import typer

from keras_dalle.commands.preset_names import check_preset


def evaluate(
    preset: Annotated[str, typer.Argument(help="A preset's name or folder.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for figures and grids.")
    ] = Path("out/evaluation"),
) -> None:
    """Draw every emoji's name and rank the true pictures by their likeness."""
    check_preset(preset)
    from keras_dalle.evaluation import evaluate_emoji

    evaluate_emoji(preset, output=output)
    typer.echo(output)
