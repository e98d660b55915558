"""`keras-dalle demo`: from a shipped preset to a picture, by way of a server."""

from pathlib import Path
from typing import Annotated

import typer

from keras_dalle.commands import options


def demo(
    prompts: Annotated[
        list[str] | None, typer.Argument(help="Texts to draw. Default: a few.")
    ] = None,
    output: options.Output = Path("out/demo.png"),
    seed: options.Seed = 0,
) -> None:
    """Export the shipped preset, serve it, ask it for pictures, write a grid."""
    from keras_dalle.demo import run_demo

    typer.echo(f"The pictures are in {run_demo(prompts, output, seed=seed)}")
