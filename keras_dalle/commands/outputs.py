"""Where pictures go: a grid in one file, or single ones into a folder."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.progress import track

from keras_dalle.commands.progress import console
from keras_dalle.utils.writable import check_file_place, check_folder_place

if TYPE_CHECKING:
    from keras_dalle.commands.drawing import Draw
    from keras_dalle.commands.folders import Request
    from keras_dalle.utils.picture_metadata import PresetIdentity

DEFAULT_SUFFIX = ".png"


@dataclass(frozen=True)
class Output:
    """What `-o` and the options beside it mean.

    Attributes:
        path: of the file or folder.
        is_folder: which of both.
        suffix: of the files in a folder.
        columns: pictures a row of a grid. Default: about a square.
        labels: whether a grid has its prompts.
        replace: whether pictures in a folder that were drawn from other inputs make
            room for those of the same name.
    """

    path: Path
    is_folder: bool
    suffix: str = DEFAULT_SUFFIX
    columns: int | None = None
    labels: bool = True
    replace: bool = False


def output_of(
    text: str,
    folder_format: str | None = None,
    *,
    columns: int | None = None,
    labels: bool = True,
    replace: bool = False,
) -> Output:
    """Reads `-o`: a folder exists, or has a slash at its end.

    Args:
        text: as it was typed.
        folder_format: of the files in a folder, as "png".
        columns, labels, replace: as of `Output`.

    Raises:
        typer.BadParameter: a format is given for a file.
        ValueError: the file's ending is none of a picture.
        OSError: nothing can be written there.
    """
    if not text.strip():
        raise typer.BadParameter(
            "-o needs a name: FILE, FOLDER/, or ./ for this folder. Received: an empty "
            "text, perhaps from a variable that is not set."
        )
    is_folder = text.endswith(("/", os.sep)) or Path(text).is_dir()
    if is_folder:
        check_folder_place(text)
    else:
        _check_file(text, folder_format)
        check_file_place(text)
    suffix = f".{folder_format}" if folder_format else DEFAULT_SUFFIX
    return Output(Path(text), is_folder, suffix, columns, labels, replace)


def _check_file(text: str, folder_format: str | None) -> None:
    from keras_dalle.utils.picture_files import picture_format

    if folder_format is not None:
        raise typer.BadParameter(
            "--format is for pictures in a folder: -o FOLDER/. A file's ending names "
            f"its format. Received: -o {text} --format {folder_format}"
        )
    try:
        picture_format(text)
    except ValueError as error:
        raise ValueError(
            f"{error}. A folder for single pictures has a slash at its end: -o {text}/"
        ) from error


def write_pictures(
    requests: "list[Request]",
    output: Output,
    draw: "Draw",
    preset: "PresetIdentity",
) -> None:
    """Draws and writes pictures, with progress.

    Args:
        requests: the pictures.
        output: where to.
        draw: from rows to pictures.
        preset: the model that draws.

    Raises:
        ValueError: one file cannot hold all that, or a grid's picture cannot be drawn.
        PicturesFailed: some of a folder's pictures cannot be.
    """
    if output.is_folder:
        from keras_dalle.commands.folders import write_folder

        write_folder(
            requests,
            output.path,
            draw,
            preset,
            suffix=output.suffix,
            replace=output.replace,
        )
    else:
        _write_one_file(requests, output, draw, preset)


def _write_one_file(
    requests: "list[Request]",
    output: Output,
    draw: "Draw",
    preset: "PresetIdentity",
) -> None:
    import numpy as np

    from keras_dalle.commands.drawing import draw_in_batches
    from keras_dalle.commands.grids import plan_grid, write_grid

    rows = [request.row for request in requests]
    columns, labels = output.columns, output.labels
    plan = plan_grid(rows, preset, output.path, columns=columns, labels=labels)
    drawn = track(
        draw_in_batches(draw, rows), "Drawing", total=len(rows), console=console
    )
    rows, images = zip(*drawn, strict=True)
    metadata = replace(plan, pictures=rows)
    write_grid(np.stack(images), metadata, output.path)
