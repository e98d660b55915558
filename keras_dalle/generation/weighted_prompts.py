"""Prompts of several parts with weights, such as "a cat:1.2 AND a dog:0.6".

Only a prompt with " AND " in it has parts. In the graph, so that Python and the
SavedModel read a prompt alike.
"""

# B prompts, C the most parts of one of them

from typing import NamedTuple

import tensorflow as tf

SEPARATOR = " AND "
MAX_PARTS = 8
# A weight at the end of a part. Few digits, so that every one of them is finite.
_WEIGHT = r"\s*:\s*[-+]?([0-9]{1,3}(\.[0-9]{0,9})?|\.[0-9]{1,9})\s*$"
# What begins like a weight, up to the end of the part.
_LIKE_A_WEIGHT = r":\s*[-+]?[.,]?[0-9][^:]*$"
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

    A prompt without " AND " is one part as it stands, of weight 1, whatever it ends
    with. What `prompt_faults` tells of is read as text of weight 1.
    """
    parts = tf.strings.split(prompt_B, SEPARATOR)[:, :MAX_PARTS]
    counts_B = tf.cast(parts.row_lengths(), tf.int32)
    most = tf.reduce_max(tf.concat([counts_B, [1]], axis=0))
    parts_BC = parts.to_tensor(shape=tf.stack([-1, most]))
    texts_BC, weights_BC = _text_and_weight(parts_BC)
    has_parts_B1 = counts_B[:, None] > 1
    texts_BC = tf.where(has_parts_B1, texts_BC, prompt_B[:, None])
    weights_BC = tf.where(has_parts_B1, weights_BC, 1.0)
    is_part_BC = tf.range(most) < counts_B[:, None]
    return WeightedParts(
        tf.where(is_part_BC, texts_BC, texts_BC[:, :1]),
        tf.where(is_part_BC, weights_BC, 0.0),
    )


def _text_and_weight(parts_BC):
    """Parts without their weight and surrounding space, and the weights."""
    texts_BC = tf.strings.regex_replace(parts_BC, _WEIGHT, "")
    endings_BC = _behind(parts_BC, tf.strings.length(texts_BC))
    numbers_BC = tf.strings.regex_replace(endings_BC, r"[^-+.0-9]", "")
    numbers_BC = tf.where(numbers_BC == "", "1", numbers_BC)
    return tf.strings.strip(texts_BC), tf.strings.to_number(numbers_BC, tf.float32)


def _behind(texts, length):
    """What stands behind the first `length` bytes."""
    return tf.strings.substr(texts, length, tf.strings.length(texts))


def prompt_faults(prompt_B: tf.Tensor) -> tf.Tensor:
    """What is wrong with prompts of several parts, string [B]; empty for good ones."""
    parts = tf.strings.split(prompt_B, SEPARATOR)
    counts_B = tf.cast(parts.row_lengths(), tf.int32)
    parts_BC = parts[:, :MAX_PARTS].to_tensor()
    is_part_BC = tf.range(tf.shape(parts_BC)[1]) < counts_B[:, None]
    faults_BC = tf.where(is_part_BC, _part_faults(parts_BC), "")
    faults_B = tf.strings.reduce_join(faults_BC, axis=1, separator=" ")
    faults_B = tf.where(counts_B > 1, tf.strings.strip(faults_B), "")
    too_many_B = tf.strings.join(
        [
            f"`prompt` must have at most {MAX_PARTS} parts with `AND` between them. "
            "Received: ",
            tf.strings.as_string(counts_B),
        ]
    )
    return tf.where(counts_B > MAX_PARTS, too_many_B, faults_B)


def _part_faults(parts_BC):
    has_weight_BC = tf.strings.regex_replace(parts_BC, _WEIGHT, "") != parts_BC
    before_BC = tf.strings.regex_replace(parts_BC, _LIKE_A_WEIGHT, "")
    received_BC = _behind(parts_BC, tf.strings.length(before_BC))
    # RE2 matched it, so it is UTF-8.
    shown_BC = tf.strings.substr(received_BC, 0, _SHOWN_CHARACTERS, unit="UTF8_CHAR")
    faulty_weight_BC = tf.strings.join(
        [
            "A part of `prompt` must end in a weight below 1000, such as `:1.2` or "
            "`:-0.5`, or in none. Received: `",
            shown_BC,
            "`. If that is text, write the weight behind it: `:1`.",
        ]
    )
    is_faulty_BC = ~has_weight_BC & (received_BC != "")
    is_empty_BC = _text_and_weight(parts_BC)[0] == ""
    empty = "Each part of `prompt` beside an `AND` must have a text."
    return tf.where(is_empty_BC, empty, tf.where(is_faulty_BC, faulty_weight_BC, ""))
