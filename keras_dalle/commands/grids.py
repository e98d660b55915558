"""Pictures with their prompts to one picture on disk."""

# N pictures, H height, W width

import io
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

import keras_dalle
from keras_dalle.commands.progress import console
from keras_dalle.utils.images import MissingGlyphs, image_grid
from keras_dalle.utils.labels import boxes_message, clusters_of
from keras_dalle.utils.picture_files import check_metadata_fits, save_picture
from keras_dalle.utils.picture_metadata import (
    MAX_PICTURES,
    GridLayout,
    PictureMetadata,
    PictureRow,
    PresetIdentity,
)

MAX_LABEL_CHARACTERS = 80


def plan_grid(
    rows: Sequence[PictureRow],
    preset: PresetIdentity,
    path: Path,
    *,
    columns: int | None = None,
    labels: bool = True,
) -> PictureMetadata:
    """The metadata of a file with all pictures, checked before they are drawn.

    Says on standard error which characters of the labels no font has. One picture
    without a label is the file by itself; all else is a grid.

    Args:
        rows: the pictures' inputs.
        preset: the model that draws them.
        path: the file; its ending names the format.
        columns: pictures a row. Default: about a square.
        labels: whether prompts are written under the pictures.

    Raises:
        ValueError: such a file cannot hold so many pictures or so long prompts.
    """
    if len(rows) > MAX_PICTURES:
        raise ValueError(
            f"A grid has at most {MAX_PICTURES} pictures. Received: {len(rows)}. Write "
            "single pictures: -o FOLDER/"
        )
    grid = None
    if len(rows) > 1 or labels:
        square = math.ceil(math.sqrt(len(rows)))
        grid = GridLayout(columns or square, labels)
    metadata = PictureMetadata(rows, preset, grid, keras_dalle.__version__)
    check_metadata_fits(metadata, path)
    if labels and (message := boxes_message(_label(row.prompt) for row in rows)):
        console.print(f"Note: {message}", markup=False, soft_wrap=True)
    return metadata


def write_grid(images_NHWC: np.ndarray, metadata: PictureMetadata, path: Path) -> Path:
    """Writes the file that `plan_grid` planned.

    Args:
        images_NHWC: uint8 [N, H, W, 3].
        metadata: the plan, its rows with fingerprints of their pictures.
        path: the file.
    """
    return save_picture(compose(images_NHWC, metadata), path, metadata)


def compose(images_NHWC: np.ndarray, metadata: PictureMetadata) -> Image.Image:
    """What the file shows: the pictures as a grid, each over its prompt, or the one.

    Args:
        images_NHWC: uint8 [N, H, W, 3].
        metadata: their prompts and layout.
    """
    grid = metadata.grid
    if grid is None:
        return Image.fromarray(images_NHWC[0])
    texts = [_label(row.prompt) for row in metadata.pictures] if grid.labels else None
    with warnings.catch_warnings():
        # `plan_grid` says it once, and this is called for every view of a stream.
        warnings.simplefilter("ignore", MissingGlyphs)
        return image_grid(images_NHWC, grid.columns, texts)


def decode_pngs(pngs: Sequence[bytes]) -> np.ndarray:
    """N PNG files of one size to uint8 [N, H, W, 3]."""
    return np.stack(
        [np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) for png in pngs]
    )


def prompt_bytes(prompt: str) -> bytes:
    """The bytes that were typed, which need not be valid UTF-8."""
    return os.fsencode(prompt)


def _label(prompt: str) -> str:
    text = prompt_bytes(prompt).decode(errors="replace")
    clusters = clusters_of(text)
    if len(clusters) <= MAX_LABEL_CHARACTERS:
        return text
    return "".join(clusters[: MAX_LABEL_CHARACTERS - 1]) + "…"
