"""The emoji data set on disk: rendered once, then read from TFRecord shards."""

import os
from pathlib import Path

import numpy as np

from keras_dalle.data.emoji import RenderReport, render_emoji
from keras_dalle.data.tfrecords import load_split, write_tfrecords
from keras_dalle.utils.writable import check_folder_place

IMAGE_SIZE = 64


def prepare_emoji(
    directory: str | os.PathLike,
    image_size: int = IMAGE_SIZE,
    font: str | os.PathLike | None = None,
) -> tuple[RenderReport, dict[str, int]]:
    """Renders the emoji of a colour font and writes the shards of every split.

    Args:
        directory: where to write.
        image_size: int. Height and width in pixels.
        font: path of a colour font; by default Noto Color Emoji where Debian puts it.

    Returns:
        What was rendered and rejected, and the number of pictures by split.
    """
    check_folder_place(directory)
    pictures = render_emoji(image_size, font)
    return pictures.report, write_tfrecords(Path(directory), pictures)


def emoji_split(
    directory: str | os.PathLike, split: str
) -> tuple[list[str], np.ndarray]:
    """Captions [N] and uint8 pictures [N, H, W, 3] of a split.

    The data set is rendered first if the folder does not hold it yet.
    """
    directory = Path(directory)
    if not (directory / "contents.json").exists():
        prepare_emoji(directory)
    return load_split(directory, split)
