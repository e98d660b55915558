"""The controls of generation: prompts and parameters, one of each a row."""

# B batch

from typing import Any

import tensorflow as tf

from keras_dalle.generation.parameters import PARAMETERS, replace_faulty_rows
from keras_dalle.saved_model.signatures.row_function import Input, Rows, join_errors

PROMPT = Input("prompt", tf.string)
NEGATIVE_PROMPT = Input("negative_prompt", tf.string, "")
# Far more than a model reads. A word's tokens take a time that grows with the square
# of its length, and the rows of a batch wait for each other.
MAX_PROMPT_BYTES = 16 * 1024


def control_inputs(task: Any) -> tuple[Input, ...]:
    """Negative prompt and parameters, whose defaults are the task's own."""
    defaults = task.generation_defaults
    return (
        NEGATIVE_PROMPT,
        *(Input(p.name, p.dtype, defaults[p.name]) for p in PARAMETERS),
    )


def check_controls(rows: Rows) -> tuple[Rows, tf.Tensor]:
    """Replaces what breaks a rule by what does not, and describes it.

    Args:
        rows: prompts and parameters; other inputs pass through.

    Returns:
        The rows, and texts [B], empty for good rows.
    """
    rows = dict(rows)
    texts = []
    for name in (PROMPT.name, NEGATIVE_PROMPT.name):
        rows[name], text_B = check_prompt(name, rows[name])
        texts.append(text_B)
    rows, error_B = replace_faulty_rows(rows)
    return rows, join_errors(*texts, error_B)


def check_prompt(name: str, prompt_B: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Empties prompts that are too long. Returns them and texts [B]."""
    length_B = tf.strings.length(prompt_B)
    holds_B = length_B <= MAX_PROMPT_BYTES
    rule = f"`{name}` must have at most {MAX_PROMPT_BYTES} bytes. Received: "
    text_B = tf.strings.join([rule, tf.strings.as_string(length_B), " bytes."])
    return tf.where(holds_B, prompt_B, ""), tf.where(holds_B, "", text_B)
