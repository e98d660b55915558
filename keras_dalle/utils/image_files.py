"""Pictures and masks that a user gives, read from files as a person sees them."""

# H height, W width

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, features

from keras_dalle.utils.picture_files import PictureRefused, opened_picture

# The formats that cameras, browsers and editors write.
READABLE = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
# Of a mask: as white as this is white. Editors soften edges, and JPEG makes noise.
_WHITE = 128
# Pillow multiplies greys of 2 and 4 bits by these factors when it decodes them.
_GREY_STEPS = {"L;2": 85, "L;4": 17}
# MPO is a JPEG with further pictures behind it.
_WITH_NOISE = ("JPEG", "MPO")
_TIFF_BITS, _TIFF_PHOTOMETRY, _WHITE_IS_ZERO = 258, 262, 0


def readable_formats() -> tuple[str, ...]:
    """Returns Pillow's names of the formats that it can read here."""
    avif = ("AVIF",) if features.check("avif") else ()
    # A plug-in that the user has registered may read it.
    heic = ("HEIF",) if "HEIF" in Image.OPEN else ()
    return READABLE + avif + heic


def read_image(path: str | os.PathLike) -> np.ndarray:
    """The pixels of a picture: turned as its EXIF says, transparency on white.

    Of an animation it is the first frame.

    Args:
        path: a file in one of `readable_formats()`.

    Returns:
        uint8 [H, W, 3].

    Raises:
        OSError: there is no such file.
        ValueError: it is no picture, is damaged or too large, or has unreadable
            colours; the message names it.
    """
    image = _eight_bit(_upright(path)[0])
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer)
    return np.asarray(image.convert("RGB"))


def read_mask(path: str | os.PathLike) -> np.ndarray:
    """Reads where a mask is white, or transparent if any pixel is transparent.

    If a mask has only the values 0 and 1, 1 is white. In a JPEG such values are noise.

    Args:
        path: as of `read_image`.

    Returns:
        bool [H, W].

    Raises:
        OSError, ValueError: see `read_image`; or all pixels that are not transparent
            are white, so that the mask can mean either.
    """
    image, kind = _upright(path)
    shown = _eight_bit(image)
    grey_HW = np.asarray(shown.convert("L"))
    if shown.has_transparency_data:
        is_open_HW = np.asarray(shown.convert("RGBA"))[:, :, 3] < _WHITE
        if is_open_HW.any():
            _check_not_opposite(is_open_HW, grey_HW, path)
            return is_open_HW
    values_HW = np.asarray(image) if image.mode == "I;16" else grey_HW
    if kind not in _WITH_NOISE and values_HW.max() == 1:
        return values_HW == 1
    return grey_HW >= _WHITE


def _check_not_opposite(is_transparent_HW, grey_HW, path):
    others = grey_HW[~is_transparent_HW]
    if others.size and (others >= _WHITE).all():
        raise ValueError(
            "A mask with transparent pixels is drawn where it is transparent. "
            f"Received: {os.fspath(path)}, in which all others are white, so that it "
            "may mean the opposite. Flatten it onto black to draw where it is white, "
            "or make the others black to draw where it is transparent."
        )


def _upright(path: str | os.PathLike) -> tuple[Image.Image, str | None]:
    """Returns a picture and its format. Grey of more than 8 bits is in "I;16"."""
    formats = readable_formats()
    with Path(path).open("rb") as file, opened_picture(file, path, formats) as opened:
        _mend_transparent_colour(opened, path)
        image = ImageOps.exif_transpose(opened)
        _check_colours(image, path)
        if image.mode.startswith("I;16"):
            image = _sixteen_bit(image, opened)
        return image, opened.format


def _mend_transparent_colour(opened: Image.Image, path: str | os.PathLike) -> None:
    """Scales PNG's transparent colour from the file's bits to Pillow's 8 bits."""
    if not isinstance(opened, PngImagePlugin.PngImageFile) or not opened.tile:
        return
    if "transparency" not in opened.info:
        return
    raw_mode = opened.tile[0].args
    if raw_mode in _GREY_STEPS:
        opened.info["transparency"] *= _GREY_STEPS[raw_mode]
    elif raw_mode == "RGB;16B":
        raise PictureRefused(
            "A PNG of 16 bits a channel with one transparent colour cannot be read. "
            f"Received: {os.fspath(path)}. Save it with an alpha channel, or in 8 bits."
        )


def _check_colours(image: Image.Image, path: str | os.PathLike) -> None:
    if image.mode in ("I", "F"):
        raise PictureRefused(
            "A picture must have 8 or 16 bits a channel, without signs and fractions. "
            f"Received: {os.fspath(path)} with numbers of 32. Save it as PNG or JPEG."
        )
    if image.mode == "LAB":
        raise PictureRefused(
            "A picture must be in RGB, grey, CMYK or YCbCr. Received: "
            f"{os.fspath(path)} in Lab colours. Save it as PNG or JPEG."
        )


def _sixteen_bit(image: Image.Image, opened: Image.Image) -> Image.Image:
    values_HW = np.asarray(image).astype(np.uint16)
    # Only TIFF has the attribute.
    tags = getattr(opened, "tag_v2", {})
    (bits,) = tags.get(_TIFF_BITS, (16,))
    values_HW <<= 16 - bits
    if tags.get(_TIFF_PHOTOMETRY) == _WHITE_IS_ZERO:
        values_HW = ~values_HW
    deep = Image.fromarray(values_HW)
    deep.info = image.info
    return deep


def _eight_bit(image: Image.Image) -> Image.Image:
    """Returns 16-bit grey in 8 bits, with its transparent value as alpha."""
    if image.mode != "I;16":
        # Pillow has no way from premultiplied grey to RGBA.
        return image.convert("LA") if image.mode == "La" else image
    # Pillow's own conversion turns all but dark greys into white.
    values_HW = np.asarray(image)
    grey_HW = (values_HW >> 8).astype(np.uint8)
    if "transparency" not in image.info:
        return Image.fromarray(grey_HW)
    is_opaque_HW = values_HW != image.info["transparency"]
    grey_and_alpha = np.stack([grey_HW, np.uint8(255) * is_opaque_HW], axis=-1)
    return Image.fromarray(grey_and_alpha)
