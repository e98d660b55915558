"""Pillow's LANCZOS filter in the graph, to the bit.

`generate` resizes given pictures by Pillow. Its filter multiplies integers: pixels by
weights of 22 bits, and float64 holds the sums exactly, in whatever order they are
taken.
"""

# S height and width before, T after, C colour

import math

import tensorflow as tf

_RADIUS = 3.0
_ONE = 2.0**22
# Rows at a time: float64 takes eight times the memory of pixels.
_ROWS = 256


def middle_square(image_HWC: tf.Tensor) -> tf.Tensor:
    """[S, S, C], cropped as `keras_dalle.generation.given_images.square` crops."""
    height, width, _ = tf.unstack(tf.shape(image_HWC))
    side = tf.minimum(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image_HWC[top : top + side, left : left + side]


def resize(image_SSC: tf.Tensor, size: int) -> tf.Tensor:
    """uint8 [S, S, C] to [size, size, C], as Pillow's `resize` with LANCZOS."""
    channels = image_SSC.shape[-1]
    resized = tf.cond(
        tf.shape(image_SSC)[0] == size,
        lambda: image_SSC,
        lambda: _resize(image_SSC, size),
    )
    return tf.ensure_shape(resized, [size, size, channels])


def _resize(image_SSC, size):
    weights_ST = _weights(tf.shape(image_SSC)[0], size)
    narrow_STC = _filter_rows(image_SSC, weights_ST)
    turned_TTC = _filter_rows(tf.transpose(narrow_STC, [1, 0, 2]), weights_ST)
    return tf.transpose(turned_TTC, [1, 0, 2])


def _filter_rows(image_HSC, weights_ST):
    """uint8 [H, S, C] to [H, T, C]."""
    height, channels = tf.shape(image_HSC)[0], image_HSC.shape[-1]
    blocks = tf.TensorArray(
        tf.uint8,
        size=-(-height // _ROWS),
        infer_shape=False,
        element_shape=[None, weights_ST.shape[1], channels],
    )

    def filter_block(block, blocks):
        part_RSC = tf.cast(image_HSC[block * _ROWS : (block + 1) * _ROWS], tf.float64)
        sums = tf.einsum("rsc,st->rtc", part_RSC, weights_ST)
        pixels = tf.clip_by_value(tf.floor(sums / _ONE + 0.5), 0.0, 255.0)
        return block + 1, blocks.write(block, tf.cast(pixels, tf.uint8))

    _, blocks = tf.while_loop(
        lambda block, _: block * _ROWS < height, filter_block, (0, blocks)
    )
    return blocks.concat()


def _weights(side: tf.Tensor, size: int) -> tf.Tensor:
    """Whole numbers as float64 [S, T]: how much of each pixel is in each new one."""
    scale = tf.cast(side, tf.float64) / size
    stretch = tf.maximum(scale, 1.0)
    centre_T = (tf.range(size, dtype=tf.float64) + 0.5) * scale
    first_T = tf.floor(tf.maximum(centre_T - _RADIUS * stretch + 0.5, 0.0))
    end_T = tf.floor(centre_T + _RADIUS * stretch + 0.5)
    pixel_S1 = tf.range(tf.cast(side, tf.float64), dtype=tf.float64)[:, None]
    weights_ST = _lanczos((pixel_S1 - centre_T + 0.5) / stretch)
    weights_ST = tf.where(
        (pixel_S1 >= first_T) & (pixel_S1 < end_T),
        weights_ST,
        tf.zeros_like(weights_ST),
    )
    weights_ST = weights_ST / tf.reduce_sum(weights_ST, axis=0)
    # Rounded half away from zero.
    whole_ST = tf.floor(tf.abs(weights_ST) * _ONE + 0.5)
    return tf.ensure_shape(tf.sign(weights_ST) * whole_ST, [None, size])


def _lanczos(x):
    inside = (x >= -_RADIUS) & (x < _RADIUS)
    return tf.where(inside, _sinc(x) * _sinc(x / _RADIUS), tf.zeros_like(x))


def _sinc(x):
    x = x * math.pi
    return tf.where(x == 0.0, tf.ones_like(x), tf.math.divide_no_nan(tf.sin(x), x))
