"""Pictures in the forms that people have them in, as uint8 RGB."""

# B pictures, H height, W width, C channels

from typing import Any

import numpy as np
from PIL import Image, ImageOps

from keras_dalle.utils.foreign_values import shortened


def rgb(image: Any) -> np.ndarray:
    """The pixels of one picture; what is transparent is on white.

    Args:
        image: a Pillow image (turned as its EXIF says), or an array [H, W] of greys or
            [H, W, C]: grey, grey and alpha, RGB or RGBA. uint8, or float from 0 to 1.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: it has another shape, dtype or range.
    """
    if isinstance(image, Image.Image):
        image = _pillow_pixels(image)
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if not pixels.ndim:
        raise ValueError(
            "`image` must be an array or a Pillow image. Received: "
            f"{shortened(image)}. `PIL.Image.open` reads a file."
        )
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4) or not pixels.size:
        raise ValueError(
            "`image` must be [H, W], or [H, W, C] of 1 to 4 channels, grey or RGB, "
            f"perhaps with alpha. Received: {list(np.shape(image))}. Move the channels "
            "to the end."
        )
    pixels = _as_uint8(pixels)
    if pixels.shape[2] in (2, 4):
        pixels = _on_white(pixels[..., :-1], pixels[..., -1:])
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _pillow_pixels(image):
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I") or upright.mode == "F":
        return np.asarray(upright)  # Pillow's conversion would clip it to white.
    return np.asarray(
        upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    )


def _as_uint8(pixels):
    if pixels.dtype == np.uint8:
        return pixels
    if not np.issubdtype(pixels.dtype, np.floating):
        raise ValueError(
            "`image` must be uint8, or float from 0 to 1. Received: "
            f"{pixels.dtype}. Convert it, e.g. with `image.astype('uint8')`."
        )
    # NaN fails the comparison.
    if not (pixels.min() >= 0.0 and pixels.max() <= 1.0):
        raise ValueError(
            "`image` of floats must be from 0 to 1. Received: "
            f"{pixels.min():g} to {pixels.max():g}. Scale it, or convert it to uint8."
        )
    return np.floor(pixels * 255.0 + 0.5).astype(np.uint8)


def _on_white(pixels_HWC, alpha_HW1):
    alpha_HW1 = alpha_HW1.astype(np.uint32)
    mixed_HWC = pixels_HWC * alpha_HW1 + 255 * (255 - alpha_HW1)
    return ((mixed_HWC + 127) // 255).astype(np.uint8)


def rgb_pictures(images: Any) -> tuple[list[np.ndarray], bool]:
    """Pictures uint8 [H, W, 3], and whether there was one without a batch.

    Args:
        images: what `rgb` takes, a list of such, or an array [B, H, W, C] or, of greys,
            [B, H, W].

    Raises:
        ValueError: as `rgb`.
    """
    if isinstance(images, list | tuple):
        return [rgb(image) for image in images], False
    if not isinstance(images, Image.Image):
        images = np.asarray(images)
        is_batch_of_greys = images.ndim == 3 and images.shape[2] > 4
        if images.ndim == 4 or is_batch_of_greys:
            return [rgb(image) for image in images], False
    return [rgb(images)], True
