"""`score`: how likely pictures are under prompts."""

# B batch, T image tokens

from typing import Any

import numpy as np
import tensorflow as tf

from keras_dalle.generation.weighted_prompts import prompt_faults
from keras_dalle.saved_model.signatures.controls import PROMPT, check_prompt
from keras_dalle.saved_model.signatures.packed_tokens import (
    TOKENS_NAME,
    unpack_tokens,
)
from keras_dalle.saved_model.signatures.pictures_in import IMAGE, read_pictures
from keras_dalle.saved_model.signatures.row_function import (
    Input,
    Rows,
    join_errors,
    row_function,
    where_good,
)
from keras_dalle.saved_model.signatures.shared_graphs import SharedGraphs

# Ranks last, and JSON can hold it.
WORST = float(np.finfo(np.float32).min)


def score(graphs: SharedGraphs) -> Any:
    """`prompt` with a picture or its tokens to `log_likelihood` float32 [B]."""

    def body(rows: Rows) -> Rows:
        prompt_B, prompt_error_B = check_prompt(PROMPT.name, rows[PROMPT.name])
        tokens_BT, picture_error_B = _tokens(graphs, rows)
        error_B = join_errors(prompt_error_B, prompt_faults(prompt_B), picture_error_B)
        scores = graphs.task.score_rows(prompt_B, tokens_BT)
        return {
            "log_likelihood": where_good(error_B, scores["log_likelihood"], WORST),
            "token_log_likelihoods": where_good(error_B, scores["per_token"], WORST),
            "error": error_B,
        }

    inputs = [PROMPT, Input(TOKENS_NAME, tf.string, "")]
    if graphs.has_encoder:
        inputs.append(Input(IMAGE.name, tf.string, ""))
    return row_function("score", inputs, body)


def _tokens(graphs, rows):
    """Tokens [B, T] and texts [B], from whichever of two inputs a row has."""
    packed_B = rows[TOKENS_NAME]
    given = unpack_tokens(packed_B, graphs.length, graphs.task.vqgan.codebook_size)
    if not graphs.has_encoder:
        return given.tokens_BT, given.error_B
    file_B = rows[IMAGE.name]
    is_file_B = (packed_B == "") & (file_B != "")

    def with_files():
        size = graphs.task.vqgan.image_size
        images_BHWC, file_error_B, _ = read_pictures(file_B, size)
        encoded_BT = graphs.encode(images_BHWC)
        return (
            tf.where(is_file_B[:, None], encoded_BT, given.tokens_BT),
            tf.where(is_file_B, file_error_B, given.error_B),
        )

    tokens_BT, error_B = tf.cond(
        tf.reduce_any(is_file_B), with_files, lambda: (given.tokens_BT, given.error_B)
    )
    rule = f"Give one of `{TOKENS_NAME}` and `{IMAGE.name}`. Received: "
    error_B = tf.where((packed_B == "") & (file_B == ""), rule + "neither.", error_B)
    both_B = (packed_B != "") & (file_B != "")
    return tokens_BT, tf.where(both_B, rule + "both.", error_B)
