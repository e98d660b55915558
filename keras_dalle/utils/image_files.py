"""Pictures and masks that a user gives, read from files as a person sees them."""

# H height, W width

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from keras_dalle.utils.picture_files import opened_picture

# What Pillow reads by itself of what cameras, browsers and editors write.
READABLE = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
# Of a mask: as white as this is white. Editors soften edges, and JPEG makes noise.
_WHITE = 128


def read_image(path: str | os.PathLike) -> np.ndarray:
    """The pixels of a picture: turned as its EXIF says, transparency on white.

    Of an animation it is the first frame.

    Args:
        path: a file in one of `READABLE`.

    Returns:
        uint8 [H, W, 3].

    Raises:
        OSError: there is no such file.
        ValueError: it is no picture, damaged or too large; the message names it.
    """
    image = _upright(path)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer)
    return np.asarray(image.convert("RGB"))


def read_mask(path: str | os.PathLike) -> np.ndarray:
    """Where a mask is white.

    Args:
        path: as of `read_image`.

    Returns:
        bool [H, W].

    Raises:
        OSError, ValueError: as by `read_image`; or it has transparent pixels, of which
            nobody knows whether they are white.
    """
    image = _upright(path)
    if image.has_transparency_data and not _is_opaque(image):
        raise ValueError(
            "A mask must be white where to draw and black elsewhere, without "
            f"transparent pixels. Received: {os.fspath(path)} with some. Flatten it "
            "onto black."
        )
    return np.asarray(image.convert("L")) >= _WHITE


def _is_opaque(image: Image.Image) -> bool:
    return bool((np.asarray(image.convert("RGBA"))[:, :, 3] == 255).all())


def _upright(path: str | os.PathLike) -> Image.Image:
    with Path(path).open("rb") as file, opened_picture(file, path, READABLE) as opened:
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I;16"):
        # Pillow's own conversion makes white of all that is not dark.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(
            f"A picture must have 8 or 16 bits a channel. Received: {os.fspath(path)} "
            "with 32. Save it as PNG or JPEG."
        )
    return image
