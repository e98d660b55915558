"""Pictures that are given to generation: any size in, tokens and what stays out."""

# B pictures, H height, W width, G tokens along a side, T = G * G image tokens

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from keras_dalle.generation.one_by_one import encode_function
from keras_dalle.generation.pixels import rgb, rgb_pictures


def square(image: Any, size: int) -> np.ndarray:
    """The middle square of a picture, resized.

    Args:
        image: what `keras_dalle.generation.pixels.rgb` takes.
        size: of the result.

    Returns:
        uint8 [size, size, 3].

    Raises:
        ValueError: it has another shape, dtype or range.
    """
    middle = _middle_square(rgb(image))
    if len(middle) == size:
        return middle
    resized = Image.fromarray(middle).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(resized)


def squares(pictures: Sequence[np.ndarray], size: int) -> np.ndarray:
    """The middle squares of pictures, resized: uint8 [B, size, size, 3].

    Args:
        pictures: uint8 [H, W, 3] each.
        size: of the results.
    """
    squares_BHWC = np.zeros((len(pictures), size, size, 3), np.uint8)
    for place, picture in enumerate(pictures):
        squares_BHWC[place] = square(picture, size)
    return squares_BHWC


def open_tokens(mask_HW: np.ndarray, grid: int) -> np.ndarray:
    """Which tokens a mask asks to draw: those with a masked pixel in their cell.

    Args:
        mask_HW: [H, W], true or above 0 where to draw; cropped as `square` crops.
        grid: G.

    Returns:
        bool [G * G].

    Raises:
        ValueError: the mask has no two dimensions.
    """
    mask_HW = np.asarray(mask_HW)
    if mask_HW.ndim != 2 or not mask_HW.size:
        raise ValueError(
            "`mask` must be [H, W], above 0 where to draw. Received: "
            f"{list(mask_HW.shape)}."
        )
    middle = _middle_square(mask_HW)
    is_open_GG = np.zeros((grid, grid), bool)
    rows, columns = np.nonzero(middle > 0)
    is_open_GG[rows * grid // len(middle), columns * grid // len(middle)] = True
    return is_open_GG.reshape(-1)


def _middle_square(pixels):
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])


def given_tokens(task: Any, image: Any, mask: Any, count: int) -> dict[str, np.ndarray]:
    """The tokens that are given for `count` pictures, and which of them stay.

    Args:
        task: a `DalleBartTextToImage`.
        image: `None`, or what `rgb_pictures` takes: one for all pictures, or one each;
            or image tokens, int [T] with -1 where to draw anew, or a list of such.
        mask: `None`, or [H, W], or a list of such: where to draw anew. Image tokens
            have none.
        count: B.

    Returns:
        `known_tokens` int32 [B, T] and `known_mask` bool [B, T].

    Raises:
        ValueError: one is given without the other, or has another form or number; or
            a token is none of the VQGAN's.
    """
    length = task.backbone.image_length
    if image is not None and mask is None and _rank(image) <= 2:
        return _known_tokens(image, length, task.vqgan.codebook_size, count)
    if (image is None) != (mask is None):
        raise ValueError(
            "`image` and `mask` need each other: the mask says where to draw. Received "
            f"only `{'mask' if image is None else 'image'}`."
        )
    if image is None:
        return {
            "known_tokens": np.zeros((count, length), np.int32),
            "known_mask": np.zeros((count, length), bool),
        }
    size, grid = task.vqgan.image_size, int(length**0.5)
    pictures, is_one = rgb_pictures(image)
    pictures = _one_each("image", pictures[0] if is_one else pictures, 3, count)
    open_BT = [open_tokens(one, grid) for one in _one_each("mask", mask, 2, count)]
    return {
        "known_tokens": encode_function(task.vqgan)(squares(pictures, size)).numpy(),
        "known_mask": ~np.array(open_BT, bool).reshape(count, length),
    }


def _known_tokens(tokens, length, codebook_size, count):
    """As `given_tokens`, of image tokens [T] or [B, T]."""
    one_each = [np.asarray(one) for one in _one_each("image", tokens, 1, count)]
    for one in one_each:
        if one.shape != (length,) or not np.issubdtype(one.dtype, np.integer):
            raise ValueError(
                f"`image`, as image tokens, must be int [{length}], or one such a "
                f"picture. Received: {one.dtype} {list(one.shape)}."
            )
    tokens_BT = np.array(one_each).reshape(count, length)
    if count and ((tokens_BT < -1) | (tokens_BT >= codebook_size)).any():
        raise ValueError(
            f"Image tokens must be -1, where to draw, or from 0 to {codebook_size - 1}."
            f" Received: {tokens_BT.min()} to {tokens_BT.max()}."
        )
    return {
        "known_tokens": np.maximum(tokens_BT, 0).astype(np.int32),
        "known_mask": tokens_BT >= 0,
    }


def _rank(values):
    """As `np.ndim`; arrays in a list may be of different shapes."""
    if isinstance(values, list | tuple) and len(values):
        return 1 + _rank(values[0])
    return np.ndim(values)


def _one_each(name, values, rank, count):
    """One array for all pictures, or one a picture."""
    if _rank(values) == rank:
        return [values] * count
    if len(values) != count:
        raise ValueError(
            f"`{name}` must be one for all, or one a picture (={count}). Received: "
            f"{len(values)}."
        )
    return list(values)
