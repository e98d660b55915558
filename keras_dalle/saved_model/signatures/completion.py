"""`complete_image`: a picture of which a part is drawn anew."""

# B batch, G tokens along a side, T = G * G image tokens

from typing import Any

import tensorflow as tf

from keras_dalle.generation.decoding import Known
from keras_dalle.saved_model.signatures.controls import (
    PROMPT,
    check_controls,
    control_inputs,
)
from keras_dalle.saved_model.signatures.masks_in import MASK, read_masks
from keras_dalle.saved_model.signatures.pictures_in import IMAGE, read_pictures
from keras_dalle.saved_model.signatures.pictures_out import png_rows
from keras_dalle.saved_model.signatures.row_function import (
    Input,
    Rows,
    join_errors,
    row_function,
)
from keras_dalle.saved_model.signatures.shared_graphs import SharedGraphs

NO_ROWS = -1
KEPT_ROWS = Input("kept_rows", tf.int32, NO_ROWS)


def complete_image(graphs: SharedGraphs) -> Any:
    """Controls, a picture and what stays of it, to `image_bytes`, a PNG a row."""
    grid = int(graphs.length**0.5)

    def body(rows: Rows) -> Rows:
        rows, control_error_B = check_controls(rows)
        size = graphs.task.vqgan.image_size
        images_BHWC, image_error_B, sizes_B2 = read_pictures(rows[IMAGE.name], size)
        is_open_BT, mask_error_B = _open_tokens(
            rows[MASK.name], rows[KEPT_ROWS.name], sizes_B2, grid
        )
        error_B = join_errors(control_error_B, image_error_B, mask_error_B)
        known = Known(graphs.encode(images_BHWC), ~is_open_BT)
        drawn = graphs.draw(rows, known)
        return {"image_bytes": png_rows(drawn["images"], error_B), "error": error_B}

    inputs = (
        PROMPT,
        IMAGE,
        MASK,
        KEPT_ROWS,
        *control_inputs(graphs.task),
    )
    return row_function("complete_image", inputs, body)


def _open_tokens(mask_B, kept_rows_B, sizes_B2, grid):
    """Which tokens to draw, bool [B, T], and texts [B], from one of two inputs."""
    masked_BT, mask_error_B, mask_sizes_B2 = read_masks(mask_B, grid)
    other_size_B = _other_size(mask_sizes_B2, sizes_B2)
    mask_error_B = tf.where(mask_error_B == "", other_size_B, mask_error_B)
    row_T = tf.range(grid * grid) // grid
    below_BT = row_T >= kept_rows_B[:, None]
    has_mask_B = mask_B != ""
    is_open_BT = tf.where(has_mask_B[:, None], masked_BT, below_BT)

    rule = (
        f"`{KEPT_ROWS.name}` must be from 0 to {grid}, rows of image tokens. Received: "
    )
    rows_text_B = tf.strings.join([rule, tf.strings.as_string(kept_rows_B), "."])
    fits_B = (kept_rows_B >= 0) & (kept_rows_B <= grid)
    rows_error_B = tf.where(fits_B, "", rows_text_B)
    error_B = tf.where(has_mask_B, mask_error_B, rows_error_B)
    has_rows_B = kept_rows_B != NO_ROWS
    rule = f"Give one of `{MASK.name}` and `{KEPT_ROWS.name}`. Received: "
    error_B = tf.where(has_mask_B & has_rows_B, rule + "both.", error_B)
    return is_open_BT, tf.where(has_mask_B | has_rows_B, error_B, rule + "neither.")


def _other_size(mask_sizes_B2, sizes_B2):
    """Returns texts [B], empty where a mask has its picture's size or either none."""
    rule = f"`{MASK.name}` must have the height and width of `{IMAGE.name}`. Received: "
    fault_B = tf.strings.join(
        [rule, _as_text(mask_sizes_B2), " for a picture of ", _as_text(sizes_B2), "."]
    )
    is_known_B = tf.reduce_all((mask_sizes_B2 > 0) & (sizes_B2 > 0), axis=1)
    is_other_B = tf.reduce_any(mask_sizes_B2 != sizes_B2, axis=1)
    return tf.where(is_known_B & is_other_B, fault_B, "")


def _as_text(height_width_B2):
    height_B, width_B = tf.unstack(tf.strings.as_string(height_width_B2), axis=1)
    return tf.strings.join([width_B, "×", height_B])
