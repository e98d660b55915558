"""Masks from outside: which parts of a picture are drawn anew."""

# B batch, S height and width of a mask's middle square, G tokens along a side,
# T = G * G image tokens

import tensorflow as tf

from keras_dalle.generation.resizing import middle_square
from keras_dalle.saved_model.signatures import picture_files as files
from keras_dalle.saved_model.signatures.fallible import map_fallible
from keras_dalle.saved_model.signatures.row_function import Input

MASK = Input("mask_bytes", tf.string, "")


def read_masks(file_B: tf.Tensor, grid: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Decodes masks, as `keras_dalle.generation.given_images.open_tokens` reads them.

    Args:
        file_B: string: a PNG, above 0 where to draw, or a byte a token.
        grid: G.

    Returns:
        bool [B, T], which tokens to draw; texts [B], empty for good rows; and int32
        [B, 2], the height and width of each file, 0 where there is none.
    """
    length = grid * grid
    is_file_B = files.is_png(file_B)
    is_raw_B = ~is_file_B & (tf.strings.length(file_B) == length)
    specs = (tf.TensorSpec([length], tf.bool), tf.TensorSpec([2], tf.int32))
    is_whole_B, (is_open_BT, height_width_B2) = map_fallible(
        lambda file: _read_mask(file, grid), tf.where(is_file_B, file_B, ""), specs
    )
    raw_BT = tf.io.decode_raw(
        tf.where(is_raw_B, file_B, ""), tf.uint8, fixed_length=length
    )
    is_open_BT = tf.where(is_raw_B[:, None], raw_BT > 0, is_open_BT)

    error_B = files.describe_faults(
        MASK.name,
        f"a PNG file, or {length} bytes, one an image token",
        file_B,
        is_file_B=is_file_B,
        is_raw_B=is_raw_B,
        is_whole_B=is_whole_B,
        height_width_B2=height_width_B2,
    )
    return is_open_BT, error_B, height_width_B2


def _read_mask(file, grid):
    height_width_2 = files.png_size(file)

    def decoded():
        mask_SS1 = middle_square(files.decode_png(file, channels=1))
        return tf.reshape(_cells(mask_SS1[..., 0] > 0, grid), [grid * grid])

    is_open_T = tf.cond(
        files.is_small(height_width_2), decoded, lambda: tf.zeros([grid * grid], bool)
    )
    return is_open_T, height_width_2


def _cells(mask_SS, grid):
    """bool [G, G]: whether any pixel of a cell is true."""
    side = tf.shape(mask_SS)[0]
    cell_S = tf.range(side) * grid // side
    any_SS = tf.cast(mask_SS, tf.int32)
    any_GS = tf.math.unsorted_segment_max(any_SS, cell_S, grid)
    any_GG = tf.math.unsorted_segment_max(tf.transpose(any_GS), cell_S, grid)
    return tf.transpose(any_GG) > 0
