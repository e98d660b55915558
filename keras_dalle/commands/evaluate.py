"""`keras-dalle evaluate`: does a preset draw what it is asked for?"""

from pathlib import Path
from typing import Annotated

import typer
from rich.markdown import Markdown

from keras_dalle.commands import options
from keras_dalle.commands.preset_names import check_preset, load_task
from keras_dalle.commands.progress import console, step
from keras_dalle.recipes import DATA_DIRECTORY
from keras_dalle.utils.writable import check_folder_place


def evaluate(
    preset: Annotated[str, typer.Argument(help="A preset's name or folder.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for figures and grids.")
    ] = Path("out/evaluation"),
    data_dir: options.DataDirectory = DATA_DIRECTORY,
) -> None:
    """Draw every emoji's name and rank the true pictures by their likeness."""
    check_preset(preset)
    check_folder_place(output)
    with step(f"Loading {preset}"):
        from keras_dalle.evaluation.emoji_retrieval import (
            evaluate_emoji,
            markdown_table,
        )

        task = load_task(preset)
    results = evaluate_emoji(task, data_dir, output)
    console.print(Markdown(markdown_table(results)))
    typer.echo(output)
