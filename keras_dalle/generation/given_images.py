"""Pictures that are given to generation: any size in, tokens and what stays out."""

# B pictures, H height, W width, G tokens along a side, T = G * G image tokens

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from PIL import Image

from keras_dalle.generation.one_by_one import encode_function
from keras_dalle.generation.pixels import rgb, rgb_pictures
from keras_dalle.utils.foreign_values import shortened


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
    """Cuts pictures to middle squares and resizes them: uint8 [B, size, size, 3].

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
        mask_HW: [H, W] or [H, W, 1], true or above 0 where to draw; cropped as `square`
            crops.
        grid: G.

    Returns:
        bool [G * G].

    Raises:
        ValueError: the mask has no two dimensions, or holds no numbers.
    """
    middle = _middle_square(_mask(mask_HW))
    is_open_GG = np.zeros((grid, grid), bool)
    rows, columns = np.nonzero(middle > 0)
    is_open_GG[rows * grid // len(middle), columns * grid // len(middle)] = True
    return is_open_GG.reshape(-1)


def _mask(mask: Any) -> np.ndarray:
    """Returns a mask as an array [H, W]."""
    mask = _array(mask)
    shape = list(mask.shape)
    if mask.ndim == 3 and shape[2] == 1:
        mask = mask[..., 0]
    if mask.ndim != 2 or not mask.size or mask.dtype.kind not in "biuf":
        raise ValueError(
            "`mask` must be numbers [H, W], above 0 where to draw. Received: "
            f"{mask.dtype} {shape}."
        )
    if np.isnan(mask).any():
        raise ValueError(
            "`mask` must be numbers, above 0 where to draw. Received: NaN among them."
        )
    return mask


def _middle_square(pixels):
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])


def given_tokens(
    task: Any, image: Any, mask: Any, count: int, is_varied: bool = False
) -> dict[str, np.ndarray]:
    """The tokens that are given for `count` pictures, and which of them stay.

    Args:
        task: a `DalleBartTextToImage`.
        image: `None`, or what `rgb_pictures` takes: one for all pictures, or one each;
            or image tokens, int [T] with -1 where to draw anew, or a list of such.
        mask: `None`, or [H, W] as the image, or a list of such masks: where to draw
            anew. Image tokens have no mask.
        count: B.
        is_varied: whether all of an image is drawn anew where it has no mask.

    Returns:
        `known_tokens` int32 [B, T] and `known_mask` bool [B, T].

    Raises:
        ValueError: one is given without the other, or has another form or number; or
            a token is none of the VQGAN's.
    """
    length = task.backbone.image_length
    says_what = mask is not None or is_varied
    if image is None and not says_what:
        return {
            "known_tokens": np.zeros((count, length), np.int32),
            "known_mask": np.zeros((count, length), bool),
        }
    _check_forms(image, mask, says_what)
    if not says_what:
        return _known_tokens(image, length, task.vqgan.codebook_size, count)
    size, grid = task.vqgan.image_size, int(length**0.5)
    pictures, is_one = rgb_pictures(image)
    pictures = _one_each("image", pictures[0] if is_one else pictures, 3, count)
    if mask is None:
        open_BT = np.ones((count, length), bool)
    else:
        masks = _masks(mask, count)
        for picture, one in zip(pictures, masks, strict=True):
            _check_mask_of(picture, one)
        open_BT = np.array([open_tokens(one, grid) for one in masks], bool)
    return {
        "known_tokens": encode_function(task.vqgan)(squares(pictures, size)).numpy(),
        "known_mask": ~open_BT.reshape(count, length),
    }


def _check_forms(image, mask, says_what):
    """Raises `ValueError` unless the types of image and mask go together."""
    for name, value in (("image", image), ("mask", mask)):
        if value is not None and (_rank(value) == 0 or _is_list_of_names(value)):
            raise ValueError(
                f"`{name}` must be an array or a Pillow image, or a list of them. "
                f"Received: {shortened(value)}. `PIL.Image.open` reads a file."
            )
    if image is None:
        name = "keep_fraction" if mask is None else "mask"
        raise ValueError(
            f"`image` and `{name}` need each other: it says where to draw. Received "
            f"only `{name}`."
        )
    if not says_what and _rank(image) > 2:
        raise ValueError(
            "`image` and `mask` need each other: the mask says where to draw. Received "
            "only `image`. `keep_fraction` keeps a share of it."
        )
    if says_what and _rank(image) == 1 and len(image):
        raise ValueError(
            "Image tokens say where to draw, by -1. Received: `image` as tokens with "
            "`mask` or `keep_fraction`. Leave these out."
        )


def _is_list_of_names(values):
    is_list = isinstance(values, list | tuple) and len(values)
    return bool(is_list) and (isinstance(values[0], str | bytes | PathLike | None))


def _masks(mask, count):
    """Returns one mask [H, W] for each picture."""
    is_list = isinstance(mask, list | tuple) and _rank(mask) != 2
    if not is_list:
        mask = _array(mask)
        shape = mask.shape
        is_batch = mask.ndim == 4 or (mask.ndim == 3 and shape[2] not in (1, 3, 4))
        if mask.ndim < 2 or (not is_batch and len(mask) != count):
            return [_mask(mask)] * count
    rank = 3 if _rank(mask) == 3 and np.shape(mask[0])[-1:] == (1,) else 2
    return [_mask(one) for one in _one_each("mask", mask, rank, count)]


def _array(values):
    """Calls `np.asarray`, but returns one object for rows of several lengths."""
    try:
        return np.asarray(values)
    except ValueError:
        return np.array(None)


def _check_mask_of(picture_HWC, mask_HW):
    if mask_HW.shape != picture_HWC.shape[:2]:
        raise ValueError(
            "`mask` must have its image's height and width. Received: "
            f"{list(mask_HW.shape)} for an image of {list(picture_HWC.shape[:2])}."
        )


def _known_tokens(tokens, length, codebook_size, count):
    """As `given_tokens`, of image tokens [T] or [B, T]."""
    one_each = [np.asarray(one) for one in _one_each("image", tokens, 1, count)]
    for one in one_each:
        if one.shape != (length,) or not np.issubdtype(one.dtype, np.integer):
            raise ValueError(
                f"`image`, as image tokens, must be int [{length}], or one such a "
                f"picture. Received: {one.dtype} {list(one.shape)}. A grey picture "
                "needs a `mask` or a `keep_fraction`."
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
    if isinstance(values, str | bytes | PathLike):
        return 0
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
            f"{len(values)} of them."
        )
    return list(values)
