"""`keras-dalle evaluate`: does a preset draw what it is asked for?"""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from keras_dalle.commands import options
from keras_dalle.commands.preset_names import check_preset, load_task
from keras_dalle.commands.progress import console, step
from keras_dalle.recipes import DATA_DIRECTORY


def evaluate(
    preset: Annotated[str, typer.Argument(help="A preset's name or folder.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for figures and grids.")
    ] = Path("out/evaluation"),
    data_dir: options.DataDirectory = DATA_DIRECTORY,
) -> None:
    """Draw every emoji's name and rank the true pictures by their likeness."""
    check_preset(preset)
    with step(f"Loading {preset}"):
        from keras_dalle.evaluation.emoji_retrieval import evaluate_emoji

        task = load_task(preset)
    results = evaluate_emoji(task, data_dir, output)
    table = Table("split", "prompts", "top-1", "top-5", "top-10", "VQGAN alone, top-1")
    for result in results:
        shares = (
            result.top_1,
            result.top_5,
            result.top_10,
            result.reconstruction_top_1,
        )
        table.add_row(result.split, str(result.prompts), *(f"{x:.1%}" for x in shares))
    console.print(table)
    typer.echo(output)
