"""Captioned pictures as `fit` takes them, and the errors for others.

Arrays and lists are checked before training starts. Types and shapes in a
`tf.data.Dataset` are checked when its graph is made, and values when the graph runs.
"""

# B batch, T image tokens, H height, W width, C channels, S side of the model's pictures

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from keras_dalle.generation.given_images import squares
from keras_dalle.generation.pixels import rgb_pictures
from keras_dalle.generation.resizing import middle_square, resize
from keras_dalle.generation.text_tensors import text_tensor
from keras_dalle.utils.foreign_values import shortened
from keras_dalle.utils.plain_values import texts

_FORMS = (
    "Training data must be a dictionary of `captions` with `images` or `image_tokens`, "
    "or a `tf.data.Dataset` of batches of such dictionaries."
)
_OF_GENERATORS = (
    "`tf.data.Dataset.from_generator(...).batch(32)` makes one from Python's rows: "
    "docs/training.md shows it."
)
_OWN_INPUTS = {"encoder_token_ids", "encoder_padding_mask", "image_tokens"}
# The text of a graph's assertion, and TensorFlow's text around it.
_FAULT = "Training data: "
_FAULT_PATTERN = re.compile(rf"assertion failed: \[{_FAULT}(.*?)\](?:\s|$)", re.DOTALL)


def checked_arrays(task: Any, x: Any) -> Any:
    """Returns the data for `fit` with pictures of the model's size; datasets unchanged.

    Args:
        task: a `DalleBartTextToImage`.
        x: see `fit`.

    Raises:
        ValueError: it is none of the forms that `fit` takes, or breaks a rule.
    """
    if isinstance(x, tf.data.Dataset) or type(x).__module__.startswith("grain."):
        return x
    if not isinstance(x, dict):
        name = f"{type(x).__module__}.{type(x).__qualname__}".removeprefix("builtins.")
        raise ValueError(f"{_FORMS} Received: {name}. {_OF_GENERATORS}")
    if task.preprocessor is None:
        _check_own_inputs(x)
        return x
    check_names(x)
    x = {**x, "captions": texts("captions", x["captions"])}
    if not x["captions"].ndim:
        raise ValueError(
            "`captions` must be a list, one per picture. Received: one text. Give "
            "lists of one."
        )
    if "images" in x:
        size = task.require_vqgan("Training on `images`").image_size
        x["images"] = _batch_of_squares(x["images"], size)
    else:
        x["image_tokens"] = _array("image_tokens", x["image_tokens"])
        checked_tokens(x["image_tokens"], task.backbone)
    name = "images" if "images" in x else "image_tokens"
    _check_rows(x["captions"], name, len(x[name]))
    return x


def _check_rows(captions, name, rows):
    if not rows:
        raise ValueError(f"`{name}` must be one or more. Received: none.")
    if len(captions) != rows:
        raise ValueError(
            f"`captions` must be one per picture. Received: {len(captions)} captions "
            f"and {rows} `{name}`."
        )


def check_names(x: dict[str, Any]) -> None:
    """Raises `ValueError` unless there are captions with one kind of pictures."""
    pictures = {"images", "image_tokens"} & set(x)
    if "captions" not in x or len(pictures) != 1:
        raise ValueError(
            "Training data must be a dictionary with `captions` and one of `images` "
            f"and `image_tokens`. Received: {shortened(sorted(map(str, x)))}."
        )


def _check_own_inputs(x: dict[str, Any]) -> None:
    """Raises `ValueError` unless a model without a preprocessor can read it."""
    if set(x) != _OWN_INPUTS:
        raise ValueError(
            "Without a preprocessor, training data must be a dictionary with "
            f"{', '.join(sorted(_OWN_INPUTS))}, and image tokens as `y`: what a "
            "preprocessor returns. Received: "
            f"{shortened(sorted(map(str, x)))}. Set `preprocessor`, or map it."
        )


def checked_sample(task: Any, x: Any) -> Any:
    """Returns a batch of training data with image tokens, eagerly or in a graph.

    Args:
        task: a `DalleBartTextToImage`.
        x: `captions` with `images` or `image_tokens`, or the model's own inputs.

    Raises:
        ValueError: it is no batch, or its shapes or types break a rule.
        tf.errors.InvalidArgumentError: its values break one; see `told_by_name`.
    """
    if not isinstance(x, dict):
        raise ValueError(f"{_FORMS} Received: {type(x).__name__}.")
    if task.preprocessor is None:
        _check_own_inputs(x)
    else:
        check_names(x)
    if "images" in x:
        vqgan = task.require_vqgan("Training on `images`")
        x = {**x, "image_tokens": vqgan.encode_images(_squares(x["images"], vqgan))}
        del x["images"]
    if "captions" in x:
        x = {**x, "captions": text_tensor("captions", x["captions"])}
        if x["captions"].shape.rank == 0:
            raise ValueError(
                "Training data must be batches. Received: single captions. Batch the "
                "dataset: `dataset.batch(32)`."
            )
    if "image_tokens" in x:
        tokens = x["image_tokens"]
        if not tf.is_tensor(tokens):
            tokens = _array("image_tokens", tokens)
        x = {**x, "image_tokens": checked_tokens(tokens, task.backbone)}
    return x


# === Image tokens ===

# By the rank of what was received.
_REMEDIES = {
    1: " Batch them: `dataset.batch(32)`.",
    3: " Make a row of each grid: `tokens.reshape(len(tokens), -1)`.",
}


def checked_tokens(tokens: Any, backbone: Any, name: str = "image_tokens") -> tf.Tensor:
    """Returns image tokens as int32 [B, T].

    Args:
        tokens: an array or tensor.
        backbone: a `DalleBartBackbone`, whose tokens they must be.
        name: of the tokens, for errors.

    Raises:
        ValueError: the type or the shape is another.
        tf.errors.InvalidArgumentError: a token is out of range, in a graph.
    """
    length, codes = backbone.image_length, backbone.image_vocabulary_size
    shape = tf.TensorShape(tokens.shape)
    dtype = tf.as_dtype(tokens.dtype)
    rank, width = shape.rank, shape[-1] if shape.rank else None
    if not dtype.is_integer or rank not in (None, 2) or (width or 0) > length:
        raise ValueError(
            f"`{name}` must be integers [B, T] with T at most {length}. Received: "
            f"{dtype.name} {shape}.{_REMEDIES.get(rank, '')}"
        )
    if isinstance(tokens, np.ndarray):
        return _checked_values(tokens, name, codes)
    low, high = tf.reduce_min(tokens), tf.reduce_max(tokens)
    is_empty = tf.size(tokens) == 0
    rule = f"`{name}` must be [B, T], T at most {length}, from 0 to {codes - 1}."
    holds = is_empty | ((low >= 0) & (high < codes) & (tf.shape(tokens)[-1] <= length))
    low, high, size = map(tf.strings.as_string, (low, high, tf.shape(tokens)[-1]))
    text = [_FAULT, rule, " Received: ", low, " to ", high, ", T ", size, "."]
    with tf.control_dependencies([tf.debugging.Assert(holds, [_joined(text)])]):
        return tf.ensure_shape(tf.cast(tokens, tf.int32), [None, None])


def _checked_values(tokens_BT, name, codes):
    if tokens_BT.size and not 0 <= tokens_BT.min() <= tokens_BT.max() < codes:
        raise ValueError(
            f"`{name}` must be from 0 to {codes - 1}. Received: {tokens_BT.min()} to "
            f"{tokens_BT.max()}."
        )
    return tokens_BT.astype(np.int32)


# === Pictures ===


def _batch_of_squares(images: Any, size: int) -> np.ndarray:
    """Returns pictures in memory as uint8 [B, S, S, 3]."""
    is_array = isinstance(images, np.ndarray) and images.dtype == np.uint8
    if is_array and images.shape[1:] == (size, size, 3):
        return images
    pictures, is_one = rgb_pictures(images)
    if is_one:
        raise ValueError(
            "`images` must be a batch of pictures, or a list of them. Received: one "
            "picture. Give lists of one."
        )
    return squares(pictures, size)


def _squares(images: Any, vqgan: Any) -> Any:
    """Returns pictures of any form of `generate(image=...)` as uint8 [B, S, S, 3]."""
    if not tf.is_tensor(images) or tf.executing_eagerly():
        return _batch_of_squares(images, vqgan.image_size)
    if isinstance(images, tf.RaggedTensor) or images.shape.rank not in (3, 4):
        raise ValueError(
            "`images` of a dataset must be batches of one size: [B, H, W], or "
            f"[B, H, W, C] of 1 to 4 channels. Received: {type(images).__name__} "
            f"{images.shape}. Batch the dataset, resize before you do, and tell the "
            "shape by `tf.ensure_shape`."
        )
    images_BHWC = images if images.shape.rank == 4 else images[..., tf.newaxis]
    channels = images_BHWC.shape[3]
    if channels not in (1, 2, 3, 4):
        raise ValueError(
            "`images` of a dataset must have 1 to 4 channels, grey or RGB, perhaps "
            f"with alpha, as their last axis. Received: {images.shape}. Tell the "
            "shape by `tf.ensure_shape`."
        )
    images_BHWC = _rgb(_as_uint8(images_BHWC), channels)
    size = vqgan.image_size
    if images_BHWC.shape[1:3] == (size, size):
        return images_BHWC
    return tf.map_fn(
        lambda image_HWC: resize(middle_square(image_HWC), size), images_BHWC
    )


def _as_uint8(images_BHWC):
    if images_BHWC.dtype == tf.uint8:
        return images_BHWC
    if not images_BHWC.dtype.is_floating:
        raise ValueError(
            "`images` must be uint8, or float from 0 to 1. Received: "
            f"{images_BHWC.dtype.name}. Convert them: `tf.cast(images, tf.uint8)`."
        )
    low, high = tf.reduce_min(images_BHWC), tf.reduce_max(images_BHWC)
    # NaN fails the comparison.
    holds = (tf.size(images_BHWC) == 0) | ((low >= 0) & (high <= 1))
    low, high = (tf.strings.as_string(x, shortest=True) for x in (low, high))
    rule = "`images` of floats must be from 0 to 1. Received: "
    end = ". Scale them, or convert them to uint8."
    text = _joined([_FAULT, rule, low, " to ", high, end])
    with tf.control_dependencies([tf.debugging.Assert(holds, [text])]):
        return tf.cast(tf.floor(images_BHWC * 255.0 + 0.5), tf.uint8)


def _rgb(images_BHWC, channels):
    """Returns uint8 [B, H, W, 3], transparent pixels in white, as in `pixels.rgb`."""
    if channels in (2, 4):
        wide_BHWC = tf.cast(images_BHWC, tf.int32)
        alpha_BHW1 = wide_BHWC[..., -1:]
        mixed_BHWC = wide_BHWC[..., :-1] * alpha_BHW1 + 255 * (255 - alpha_BHW1)
        images_BHWC = tf.cast((mixed_BHWC + 127) // 255, tf.uint8)
    if channels in (1, 2):
        return tf.repeat(images_BHWC, 3, axis=3)
    return images_BHWC


def _joined(parts):
    return tf.strings.join([tf.convert_to_tensor(part) for part in parts])


def _array(name, values):
    """Calls `np.asarray`, but refuses rows of several lengths by name."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"`{name}` must be rows of one length. Received: {shortened(values)}."
        ) from error


@contextmanager
def told_by_name() -> Iterator[None]:
    """Raises a `ValueError` of one line if a graph finds a fault in training data."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if fault := _FAULT_PATTERN.search(error.message):
            raise ValueError(fault[1]) from None
        raise
