"""`keras-dalle prepare-data`: the emoji data set, from a font."""

from pathlib import Path
from typing import Annotated

import typer

from keras_dalle.commands import options
from keras_dalle.recipes import DATA_DIRECTORY


def prepare_data(
    data_dir: options.DataDirectory = DATA_DIRECTORY,
    image_size: Annotated[int, typer.Option(min=8, help="Pixels a side.")] = 64,
    font: Annotated[
        Path | None, typer.Option(help="A colour font. Default: Noto Color Emoji.")
    ] = None,
) -> None:
    """Render every emoji of a colour font with its name, as TFRecord shards."""
    from keras_dalle.data.emoji_dataset import prepare_emoji

    report, rows_of_split = prepare_emoji(data_dir, image_size, font)
    typer.echo(
        f"Rendered {report.rendered} pictures. Left out: "
        f"{report.rejected_multiple_glyphs} of several glyphs, "
        f"{report.rejected_missing} missing from the font, "
        f"{report.rejected_duplicates} like an earlier one."
    )
    for split, rows in rows_of_split.items():
        typer.echo(f"{split}: {rows}")
    typer.echo(data_dir)
