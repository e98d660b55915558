"""Grids of pictures with labels."""

# N pictures, H height, W width

import math
import warnings
from collections.abc import Sequence

import numpy as np
from PIL import Image

from keras_dalle.utils.labels import boxes_message, wrapped

_MARGIN = 8
_LABEL_WIDTH = 120  # the least: narrower columns break most words


class MissingGlyphs(UserWarning):
    """Labels have characters that no font of the machine has."""


def image_grid(
    images: np.ndarray,
    columns: int | None = None,
    labels: Sequence[str] | None = None,
) -> Image.Image:
    """Draws pictures row by row on white, each with its label under it.

    Args:
        images: uint8 [N, H, W, 3].
        columns: Pictures a row. About the square root of N if `None`.
        labels: [N] texts, wrapped to the width of a column. The machine's fonts draw
            them. A character that no font has is a box, with a `MissingGlyphs`
            warning.

    Raises:
        ValueError: Wrong shape or type, or not one label a picture.
    """
    _check_images(images)
    if labels is not None and len(labels) != len(images):
        raise ValueError(
            f"`labels` must have one text a picture ({len(images)}). "
            f"Received: {len(labels)}"
        )
    height, width = images.shape[1:3]
    column_width = width if labels is None else max(width, _LABEL_WIDTH)
    labels = [""] * len(images) if labels is None else labels
    if columns is None:
        columns = math.ceil(math.sqrt(len(images)))
    if columns < 1:
        raise ValueError(f"`columns` must be positive. Received: {columns}")
    if message := boxes_message(labels):
        warnings.warn(message, MissingGlyphs, stacklevel=2)
    texts = [wrapped(label, column_width) for label in labels]
    rows = [
        range(i, min(i + columns, len(images))) for i in range(0, len(images), columns)
    ]
    label_heights = [
        max(sum(line.height for line in texts[i]) for i in row) for row in rows
    ]
    grid = Image.new(
        "RGB",
        (
            _MARGIN + min(columns, len(images)) * (column_width + _MARGIN),
            _MARGIN + sum(height + lines + _MARGIN for lines in label_heights),
        ),
        "white",
    )
    top = _MARGIN
    for row, label_height in zip(rows, label_heights, strict=True):
        for column, i in enumerate(row):
            left = _MARGIN + column * (column_width + _MARGIN)
            picture = Image.fromarray(images[i])
            grid.paste(picture, (left + (column_width - width) // 2, top))
            below = top + height
            for line in texts[i]:
                line.draw(grid, left + column_width // 2, below)
                below += line.height
        top += height + label_height + _MARGIN
    return grid


def _check_images(images: np.ndarray) -> None:
    shape = np.shape(images)
    if len(shape) != 4 or shape[0] == 0 or shape[3] != 3:
        raise ValueError(
            f"`images` must have shape [N, H, W, 3] with N > 0. Received: {shape}"
        )
    if images.dtype != np.uint8:
        raise ValueError(f"`images` must be uint8. Received: {images.dtype}")
