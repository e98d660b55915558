"""What of the text normalizer runs in a TensorFlow graph, of core ops alone.

The rules are the table of `normalization_rules.py`; `docs/checkpoints.md` lists the
differences to `TextNormalizer`. tensorflow-text's `normalize_utf8` would do a part of
`ascii_spellings`, but a model exported with it loads only where that package is.
"""
# B prompts, P pieces of all prompts in one row

import re
import string
from collections.abc import Callable, Mapping

import tensorflow as tf

from keras_dalle.text.byte_pair_encoding import to_valid_utf8
from keras_dalle.text.emoji_names import emoji_names
from keras_dalle.text.normalization_rules import REPEATED_CHARACTERS, RULES, Rule
from keras_dalle.text.spellings import ascii_spellings, html_entities

# The control characters that ftfy removes; one of them can then serve as a mark.
CONTROL_CHARACTERS = r"[\x00-\x08\x0b\x0e-\x1f\x7f]"
MARK = "\x01"
HASHTAG = r"#\w+"
ENTITY = r"&#?\w+;?"
# Most symbols and all invisible characters have no spelling in Unidecode.
OTHER_SIGNS = (
    r"[\p{So}\p{Cf}\p{Co}\x{80}-\x{9f}\x{300}-\x{36f}\x{2190}-\x{23ff}"
    r"\x{2900}-\x{2bff}\x{fe00}-\x{fe0f}]"
)
_MAX_GROUPS = 9


class ReplacementTable(tf.Module):
    """Replaces texts by a table, within any graph.

    Args:
        replacements: text -> replacement; none holds the character `MARK`.
    """

    def __init__(self, replacements: Mapping[str, str]) -> None:
        super().__init__()
        initializer = tf.lookup.KeyValueTensorInitializer(
            tf.constant(list(replacements)), tf.constant(list(replacements.values()))
        )
        self._table = tf.lookup.StaticHashTable(initializer, default_value=MARK)

    def replace(self, texts_B: tf.Tensor, pattern: str) -> tf.Tensor:
        """Replaces the matches of an RE2 pattern that are in the table."""
        return edit_matches(texts_B, pattern, self._look_up)

    def _look_up(self, piece_P: tf.Tensor) -> tf.Tensor:
        value_P = self._table.lookup(piece_P)
        return tf.where(value_P == MARK, piece_P, value_P)


class GraphNormalizer(tf.Module):
    """Spells prompts as DALL·E mini and Mega were trained on them, in any graph.

    Equal to `TextNormalizer` on most of what people write in the Latin, Greek and
    Cyrillic scripts; hashtags are split where their letter case shows words.
    """

    def __init__(self) -> None:
        super().__init__(name="graph_normalizer")
        self._entities = ReplacementTable(html_entities())
        self._emoji = ReplacementTable(emoji_names())
        self._spellings = ReplacementTable(ascii_spellings())

    def __call__(self, texts) -> tf.Tensor:
        """Normalized texts.

        Args:
            texts: string [] or [B], as a tensor or in Python; invalid UTF-8 is read
                as U+FFFD.

        Returns:
            string of the same shape. Each starts with a space, and is one where
            nothing is left.
        """
        texts = tf.convert_to_tensor(texts, tf.string)
        texts_B = self._normalize(tf.reshape(texts, [-1]))
        return tf.ensure_shape(tf.reshape(texts_B, tf.shape(texts)), texts.shape)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def _normalize(self, texts_B: tf.Tensor) -> tf.Tensor:
        with tf.device("cpu"):
            texts_B = to_valid_utf8(texts_B)
            texts_B = tf.strings.regex_replace(texts_B, CONTROL_CHARACTERS, "")
            texts_B = self._spell_in_ascii(texts_B)
            texts_B = edit_matches(texts_B, HASHTAG, _split_hashtags)
            texts_B = tf.strings.lower(texts_B, encoding="utf-8")
            for rule in _graph_rules():
                texts_B = tf.strings.regex_replace(
                    texts_B, rule.pattern, rule.replacement
                )
            return tf.strings.join([" ", texts_B])

    def _spell_in_ascii(self, texts_B: tf.Tensor) -> tf.Tensor:
        for _ in range(2):
            texts_B = self._entities.replace(texts_B, ENTITY)
        for pattern in emoji_patterns():
            texts_B = self._emoji.replace(texts_B, pattern)
        texts_B = self._spellings.replace(texts_B, r"[^\x00-\x7f]")
        return tf.strings.regex_replace(texts_B, OTHER_SIGNS, "")


def empty_if_blank(texts_B: tf.Tensor) -> tf.Tensor:
    """string [B]: "" for a normalized text with nothing in it, others unchanged."""
    return tf.strings.regex_replace(texts_B, "^ $", "")


def edit_matches(
    texts_B: tf.Tensor, pattern: str, edit: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Applies a function to every match of a pattern.

    Args:
        texts_B: string [B], without the character `MARK`.
        pattern: an RE2 pattern that matches no empty text.
        edit: string [P] -> string [P]. It is given the texts between matches, too,
            and has to leave them as they are.
    """
    marked_B = tf.strings.regex_replace(texts_B, pattern, rf"{MARK}\0{MARK}")
    pieces_BP = tf.strings.split(marked_B, MARK)
    edited_BP = pieces_BP.with_values(edit(pieces_BP.values))
    return tf.strings.reduce_join(edited_BP, axis=-1)


def _split_hashtags(piece_P: tf.Tensor) -> tf.Tensor:
    split_P = tf.strings.regex_replace(piece_P, r"([a-z0-9])([A-Z])", r"\1 \2")
    split_P = tf.strings.regex_replace(split_P, r"([A-Z])([A-Z][a-z])", r"\1 \2")
    return tf.where(tf.strings.regex_full_match(piece_P, HASHTAG), split_P, piece_P)


def _graph_rules() -> list[Rule]:
    rules = []
    for rule in RULES:
        rules += (
            _without_backreference() if rule.name == REPEATED_CHARACTERS else [rule]
        )
    return rules


def _without_backreference() -> list[Rule]:
    """RE2's way to "the same character four times or more": one by one.

    Of the groups of a pattern only the one that matched is not empty.
    """
    characters = string.ascii_lowercase + string.punctuation
    batches = [
        characters[start : start + _MAX_GROUPS]
        for start in range(0, len(characters), _MAX_GROUPS)
    ]
    return [
        Rule(
            REPEATED_CHARACTERS,
            "|".join(f"({c}){c}{{3,}}" for c in map(re.escape, batch)),
            "".join(rf"\{group}" for group in range(1, len(batch) + 1)),
        )
        for batch in batches
    ]


def emoji_patterns() -> tuple[str, ...]:
    """RE2 patterns of what may be an emoji, the longest first.

    A sequence that is none as a whole falls apart into its parts. (One pattern with
    all emoji would exceed RE2's memory for automata.)
    """
    first = {emoji[0] for emoji in emoji_names()} - set(string.printable)
    base = f"[{''.join(sorted(first))}]"
    part = rf"{base}[\x{{fe0f}}\x{{1f3fb}}-\x{{1f3ff}}]"
    return (
        rf"{part}*(\x{{200d}}{part}*)+"
        r"|[\x{1f1e6}-\x{1f1ff}]{2}"
        r"|[0-9#*]\x{fe0f}?\x{20e3}"
        r"|\x{1f3f4}[\x{e0020}-\x{e007f}]+",
        rf"{part}+",
        base,
    )
