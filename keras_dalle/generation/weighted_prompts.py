"""Prompts of several parts with weights, such as "a cat:1.2 AND a dog:0.6".

Only a prompt with " AND " in it has parts. A backslash turns `AND` and
`:` into text: `\\AND` is the word, `\\:` is a colon. Prompts are read in the graph, so
that Python and the SavedModel read them alike.
"""

# B prompts, C the most parts of one of them

from typing import NamedTuple

import tensorflow as tf

from keras_dalle.text.byte_pair_encoding import to_valid_utf8

SEPARATOR = " AND "
MAX_PARTS = 8
# A colon behind a backslash is text; group 1 is the part before it.
_COLON = r"(^|[^\\])\s*:\s*"
# A weight at the end of a part. Few digits, so that every one of them is finite.
_WEIGHT = _COLON + r"[-+]?([0-9]{1,3}(\.[0-9]{0,9})?|\.[0-9]{1,9})\s*$"
# What begins like a weight, up to the end of the part.
_LIKE_A_WEIGHT = r"(^|[^\\]):\s*[-+]?[.,]?[0-9][^:]*$"
_ESCAPED = r"\\(:|AND\b)"
_SHOWN_CHARACTERS = 40


class WeightedParts(NamedTuple):
    """The parts of prompts; missing ones repeat the first with weight 0.

    Attributes:
        texts_BC: string.
        weights_BC: float32.
    """

    texts_BC: tf.Tensor
    weights_BC: tf.Tensor


def weighted_parts(prompt_B: tf.Tensor) -> WeightedParts:
    """Splits prompts at " AND " and reads the weight at the end of each part.

    A prompt without " AND " is one part of weight 1, whatever it ends with. A faulty
    weight, see `prompt_faults`, is read as text of weight 1.
    """
    parts = _split(prompt_B)[:, :MAX_PARTS]
    counts_B = tf.cast(parts.row_lengths(), tf.int32)
    most = tf.reduce_max(tf.concat([counts_B, [1]], axis=0))
    parts_BC = parts.to_tensor(shape=tf.stack([-1, most]))
    texts_BC, weights_BC = _text_and_weight(parts_BC)
    has_parts_B1 = counts_B[:, None] > 1
    texts_BC = tf.where(has_parts_B1, texts_BC, _without_escapes(prompt_B)[:, None])
    weights_BC = tf.where(has_parts_B1, weights_BC, 1.0)
    is_part_BC = tf.range(most) < counts_B[:, None]
    return WeightedParts(
        tf.where(is_part_BC, texts_BC, texts_BC[:, :1]),
        tf.where(is_part_BC, weights_BC, 0.0),
    )


def _split(prompt_B):
    """Splits prompts into their parts, ragged [B, None]."""
    # `[^...]` of RE2 matches no byte that is not UTF-8.
    return tf.strings.split(to_valid_utf8(prompt_B), SEPARATOR)


def _without_escapes(texts):
    return tf.strings.regex_replace(texts, _ESCAPED, r"\1")


def _text_and_weight(parts_BC):
    """Parts without their weight and surrounding space, and the weights."""
    texts_BC = tf.strings.regex_replace(parts_BC, _WEIGHT, r"\1")
    endings_BC = _behind(parts_BC, tf.strings.length(texts_BC))
    numbers_BC = tf.strings.regex_replace(endings_BC, r"[^-+.0-9]", "")
    numbers_BC = tf.where(numbers_BC == "", "1", numbers_BC)
    texts_BC = _without_escapes(tf.strings.strip(texts_BC))
    return texts_BC, tf.strings.to_number(numbers_BC, tf.float32)


def _behind(texts, length):
    """What stands behind the first `length` bytes."""
    return tf.strings.substr(texts, length, tf.strings.length(texts))


def prompt_faults(prompt_B: tf.Tensor) -> tf.Tensor:
    """What is wrong with prompts of several parts, string [B]; empty for good ones."""
    parts = _split(prompt_B)
    counts_B = tf.cast(parts.row_lengths(), tf.int32)
    parts_BC = parts[:, :MAX_PARTS].to_tensor(shape=[None, MAX_PARTS])
    is_part_BC = tf.range(MAX_PARTS) < counts_B[:, None]
    faulty_weights_BC = tf.where(is_part_BC, _faulty_weights(parts_BC), "")
    is_empty_BC = is_part_BC & (_text_and_weight(parts_BC)[0] == "")
    fault_B = _first_text(faulty_weights_BC)
    fault_B = tf.where(tf.reduce_any(is_empty_BC, axis=1), _empty(prompt_B), fault_B)
    fault_B = tf.where(counts_B > MAX_PARTS, _too_many(counts_B), fault_B)
    return tf.where(counts_B > 1, fault_B, "")


def _first_text(texts_BC):
    """Returns the first text of each row that is not empty."""
    first_B = tf.argmax(tf.cast(texts_BC != "", tf.int32), axis=1)
    return tf.gather(texts_BC, first_B, batch_dims=1)


def _too_many(counts_B):
    rule = f"`prompt` must have at most {MAX_PARTS} parts with `AND` between them. "
    return tf.strings.join(
        [
            rule + "Received: ",
            tf.strings.as_string(counts_B),
            r". Where it is text, write `\AND`.",
        ]
    )


def _empty(prompt_B):
    return tf.strings.join(
        [
            "`prompt` must have a text on both sides of each `AND`. Received: `",
            _shown(to_valid_utf8(prompt_B)),
            r"`. Where it is text, write `\AND`.",
        ]
    )


def _faulty_weights(parts_BC):
    has_weight_BC = tf.strings.regex_replace(parts_BC, _WEIGHT, r"\1") != parts_BC
    before_BC = tf.strings.regex_replace(parts_BC, _LIKE_A_WEIGHT, r"\1")
    received_BC = _behind(parts_BC, tf.strings.length(before_BC))
    shown_BC = _shown(received_BC)
    faulty_weight_BC = tf.strings.join(
        [
            "A part of `prompt` must end in a weight below 1000, such as `:1.2` or "
            "`:-0.5`, or in none. Received: `",
            shown_BC,
            "`. If that is text, write a backslash before the colon: `\\",
            shown_BC,
            "`.",
        ]
    )
    return tf.where(~has_weight_BC & (received_BC != ""), faulty_weight_BC, "")


def _shown(texts):
    return tf.strings.substr(texts, 0, _SHOWN_CHARACTERS, unit="UTF8_CHAR")
