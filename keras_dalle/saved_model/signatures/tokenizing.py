"""`tokenize`: what the model reads of prompts."""

# B batch, S text tokens

from typing import Any

import tensorflow as tf

from keras_dalle.saved_model.signatures.controls import PROMPT, check_prompt
from keras_dalle.saved_model.signatures.row_function import Rows, row_function
from keras_dalle.saved_model.signatures.shared_graphs import SharedGraphs


def tokenize(graphs: SharedGraphs) -> Any:
    """`prompt` to `token_ids` and `padding_mask` int32 [B, S], and their number."""

    def body(rows: Rows) -> Rows:
        prompt_B, error_B = check_prompt(PROMPT.name, rows[PROMPT.name])
        tokens = graphs.task.preprocessor.generate_preprocess(prompt_B)
        padding_mask_BS = tokens["encoder_padding_mask"]
        return {
            "token_ids": tokens["encoder_token_ids"],
            "padding_mask": padding_mask_BS,
            "num_tokens": tf.reduce_sum(padding_mask_BS, axis=1),
            "error": error_B,
        }

    return row_function("tokenize", [PROMPT], body)
