"""`decode_chunk`: the next tokens of pictures, by a server that remembers nothing."""

# B batch, T image tokens, H height, W width

from typing import Any

import tensorflow as tf

from keras_dalle.generation.decoding import Known
from keras_dalle.generation.streaming import continued
from keras_dalle.saved_model.signatures.controls import (
    PROMPT,
    check_controls,
    control_inputs,
)
from keras_dalle.saved_model.signatures.packed_tokens import (
    TOKENS_NAME,
    pack_tokens,
    unpack_tokens,
)
from keras_dalle.saved_model.signatures.pictures_out import png_rows
from keras_dalle.saved_model.signatures.row_function import (
    Input,
    Rows,
    join_errors,
    row_function,
)
from keras_dalle.saved_model.signatures.shared_graphs import SharedGraphs

MAX_NEW_TOKENS = "max_new_tokens"


def decode_chunk(graphs: SharedGraphs) -> Any:
    """Controls, the tokens so far and how many to add, to those tokens and a picture.

    The tokens so far are read in a few passes, so nothing need be kept between calls:
    what one call gives as `image_tokens_bytes` goes into the next.
    """

    def body(rows: Rows) -> Rows:
        rows, control_error_B = check_controls(rows)
        codebook_size = graphs.task.vqgan.codebook_size
        given = unpack_tokens(
            rows[TOKENS_NAME], graphs.length, codebook_size, whole=False
        )
        new_B, new_error_B = _check_new_tokens(rows[MAX_NEW_TOKENS])
        error_B = join_errors(control_error_B, given.error_B, new_error_B)
        count_B = tf.where(error_B == "", given.count_B, 0)
        # A faulty row asks for nothing.
        until_B = tf.where(error_B == "", new_B, 0)
        until_B = count_B + tf.minimum(until_B, graphs.length - count_B)
        mask_BT = tf.sequence_mask(count_B, graphs.length)
        tokens_BT = graphs.tokens_until(rows, Known(given.tokens_BT, mask_BT), until_B)
        images_BHWC = graphs.decode(continued(tokens_BT, until_B))
        return {
            TOKENS_NAME: pack_tokens(tokens_BT, until_B),
            "num_tokens": until_B,
            "is_complete": until_B == graphs.length,
            "image_bytes": png_rows(images_BHWC, error_B),
            "error": error_B,
        }

    inputs = (
        PROMPT,
        Input(TOKENS_NAME, tf.string, ""),
        Input(MAX_NEW_TOKENS, tf.int32, max(graphs.length // 4, 1)),
        *control_inputs(graphs.task),
    )
    return row_function("decode_chunk", inputs, body)


def _check_new_tokens(new_B):
    rule = f"`{MAX_NEW_TOKENS}` must be at least 1. Received: "
    text_B = tf.strings.join([rule, tf.strings.as_string(new_B), "."])
    return tf.maximum(new_B, 0), tf.where(new_B >= 1, "", text_B)
