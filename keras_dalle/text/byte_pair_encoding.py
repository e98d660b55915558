"""Byte-level byte-pair encoding in the graph, out of core TensorFlow ops alone.

The whole batch is one row of bytes. Pre-tokens, prompts and special tokens are
told apart by byte values that valid UTF-8 never holds (0xF8 to 0xFF), so nothing
that a user types, NUL included, can be mistaken for a marker. RE2's character
classes do not match these bytes either: a marker ends a run as the end of the
text would.
"""
# B prompts, N symbols of all prompts of the batch in one row

import numpy as np
import tensorflow as tf

from keras_dalle.text.vocabulary import SPECIAL_TOKENS, Vocabulary

FIRST_SPECIAL = 0xF8
PROMPT_START = 0xFE
WORD_START = 0xFF
NO_RULE = np.iinfo(np.int64).max

# RE2's \s is ASCII only; this is Unicode's White_Space.
WHITESPACE = r"\t-\r \x{85}\p{Z}"
# TensorFlow 2.20's RE2 knows Unicode 15.0, `tokenizers` 0.23 knows 16.0. These are
# the letters and numbers in between (test_byte_pair_encoding.py compares all).
LETTERS = (
    r"\p{L}\x{1c89}\x{1c8a}\x{a7cb}-\x{a7cd}\x{a7da}-\x{a7dc}\x{105c0}-\x{105f3}"
    r"\x{10d4a}-\x{10d65}\x{10d6f}-\x{10d85}\x{10ec2}-\x{10ec4}\x{11380}-\x{11389}"
    r"\x{1138b}\x{1138e}\x{11390}-\x{113b5}\x{113b7}\x{113d1}\x{113d3}"
    r"\x{11bc0}-\x{11be0}\x{13460}-\x{143fa}\x{16100}-\x{1611d}\x{16d40}-\x{16d6c}"
    r"\x{18cff}\x{1e5d0}-\x{1e5ed}\x{1e5f0}\x{2ebf0}-\x{2ee5d}"
)
NUMBERS = (
    r"\p{N}\x{10d40}-\x{10d49}\x{116d0}-\x{116e3}\x{11bf0}-\x{11bf9}"
    r"\x{16130}-\x{16139}\x{16d70}-\x{16d79}\x{1ccf0}-\x{1ccf9}\x{1e5f1}-\x{1e5fa}"
)
# GPT-2's pre-token, `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|
# \s+(?!\S)|\s+`. RE2 has no look-ahead; all that it does is to leave the last space
# of a run to the word that follows, which `LAST_OF_RUN` does beforehand.
LAST_OF_RUN = rf"([{WHITESPACE}]+)([{WHITESPACE}][^{WHITESPACE}])"
PRE_TOKEN = (
    rf"'s|'t|'re|'ve|'m|'ll|'d| ?[{LETTERS}]+| ?[{NUMBERS}]+"
    rf"| ?[^{WHITESPACE}{LETTERS}{NUMBERS}]+|[{WHITESPACE}]+"
)
WORD_MARK = bytes([WORD_START])


def mark_words(texts_B: tf.Tensor) -> tf.Tensor:
    """Puts the byte `WORD_START` before each of GPT-2's pre-tokens.

    Args:
        texts_B: string [B], UTF-8 in which bytes of 0xF8 and above end a run.

    Returns:
        string [B]. Two markers may follow each other; a word is never lost.
    """
    texts_B = tf.strings.regex_replace(
        texts_B, LAST_OF_RUN, rb"\1" + WORD_MARK + rb"\2"
    )
    return tf.strings.regex_replace(texts_B, PRE_TOKEN, WORD_MARK + rb"\0")


def to_valid_utf8(texts: tf.Tensor) -> tf.Tensor:
    """Replaces each invalid byte sequence by U+FFFD, as Python's `replace` does."""
    return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")


class BytePairEncoder(tf.Module):
    """Turns strings into token ids and back, within any TensorFlow graph.

    Equal id for id to Hugging Face `tokenizers` with the byte-level pre-tokenizer
    and BART's special tokens. A special token's text within a prompt becomes its
    id, as there; `<mask>` takes the white space before it along. A byte that the
    vocabulary lacks is left out.

    Args:
        vocabulary: a `Vocabulary`.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__(name="byte_pair_encoder")
        self._id_of_byte = _id_of_byte(vocabulary)
        self._special_tokens = tuple(
            (_special_pattern(token), bytes([FIRST_SPECIAL + index]))
            for index, token in enumerate(SPECIAL_TOKENS)
            if token in vocabulary.ids
        )
        self._id_bound = max(vocabulary.ids.values()) + 1
        self._merges_in_order = vocabulary.merges_in_order()
        self._rules = self._rule_table(vocabulary)
        bytes_of_id = vocabulary.bytes_of_id()
        self._bytes_of_id = _static_table(
            np.array(list(bytes_of_id), np.int64), list(bytes_of_id.values()), b""
        )

    def _rule_table(self, vocabulary: Vocabulary) -> tf.lookup.StaticHashTable:
        """Pair of ids -> rank and merged id, each packed into one integer."""
        rules = vocabulary.rules()
        keys = [a * self._id_bound + b for a, b in rules]
        values = [rank * self._id_bound + merged for rank, merged in rules.values()]
        # A table may not be empty, a list of merges may: the first key never occurs.
        return _static_table(
            np.array([-1, *keys], np.int64),
            np.array([NO_RULE, *values], np.int64),
            NO_RULE,
        )

    def encode(self, texts) -> tf.Tensor | tf.RaggedTensor:
        """Token ids of one text or of each text of a batch, no special ones added.

        Args:
            texts: string [] or [B], as a tensor or in Python; invalid UTF-8 is read
                as U+FFFD.

        Returns:
            int32 [N] for a scalar, else int32 [B, None], ragged. An empty text has
            no ids.

        Raises:
            ValueError: if the texts have another rank.
        """
        texts = tf.convert_to_tensor(texts, tf.string)
        if texts.shape.rank == 0:
            return self._encode_batch(texts[tf.newaxis]).values
        if texts.shape.rank == 1:
            return self._encode_batch(texts)
        raise ValueError(
            "Texts must be one string or a batch of shape [B]. Received: shape "
            f"{texts.shape}. Reshape them to one axis."
        )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def _encode_batch(self, texts_B: tf.Tensor) -> tf.RaggedTensor:
        with tf.device("cpu"):
            # A request of a few kB can repeat one text for many rows, and each byte
            # of a text takes 55 bytes of memory below.
            texts_B, place_B = tf.unique(texts_B)
            texts_B = to_valid_utf8(texts_B)
            for pattern, mark in self._special_tokens:
                texts_B = tf.strings.regex_replace(texts_B, pattern, mark)
            marked_B = bytes([PROMPT_START]) + mark_words(texts_B)
            byte_N = tf.io.decode_raw(tf.strings.reduce_join(marked_B), tf.uint8)
            word_N = tf.cumsum(tf.cast(byte_N >= FIRST_SPECIAL, tf.int32))
            first_word_B = tf.boolean_mask(word_N, byte_N == PROMPT_START)

            id_N = tf.gather(self._id_of_byte, tf.cast(byte_N, tf.int32))
            is_token_N = id_N >= 0
            id_N, word_N = self._merge(
                tf.boolean_mask(id_N, is_token_N), tf.boolean_mask(word_N, is_token_N)
            )
            row_starts_B = tf.searchsorted(word_N, first_word_B)
            ids = tf.RaggedTensor.from_row_splits(
                id_N, tf.concat([row_starts_B, [tf.size(id_N)]], 0), validate=False
            )
            return tf.gather(ids, place_B)

    def decode(self, ids: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
        """Text of token ids: special tokens and unknown ids are left out.

        Args:
            ids: int [..., N], ragged or dense.

        Returns:
            string [...], always valid UTF-8: a character of which only a part is
            there becomes U+FFFD.
        """
        with tf.device("cpu"):
            pieces = self._bytes_of_id.lookup(tf.cast(ids, tf.int64))
            return to_valid_utf8(tf.strings.reduce_join(pieces, axis=-1))

    def _merge(self, id_N: tf.Tensor, word_N: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Merges the pair of lowest rank, in all words at once, until none is left."""
        id_N, word_N, _ = tf.while_loop(
            lambda id_N, word_N, any_merged: any_merged,
            lambda id_N, word_N, any_merged: self._merge_once(id_N, word_N),
            (id_N, word_N, True),
            shape_invariants=(
                tf.TensorShape([None]),
                tf.TensorShape([None]),
                tf.TensorShape([]),
            ),
        )
        return id_N, word_N

    def _merge_once(
        self, id_N: tf.Tensor, word_N: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # P pairs of neighbours: P = N - 1, and 0 where N is 0
        left_P, right_P = tf.cast(id_N[:-1], tf.int64), tf.cast(id_N[1:], tf.int64)
        word_P = word_N[:-1]
        rule_P = tf.where(
            word_P == word_N[1:],
            self._rules.lookup(left_P * self._id_bound + right_P),
            NO_RULE,
        )
        best_P = tf.gather(tf.math.segment_min(rule_P, word_P), word_P)
        merges_P = (rule_P == best_P) & (rule_P < NO_RULE)
        if self._merges_in_order:
            merges_P = _every_second_of_a_run(merges_P)
        else:
            merges_P = _first_of_each_word(merges_P, word_P)

        merged_P = tf.cast(rule_P % self._id_bound, tf.int32)
        id_N = tf.concat([tf.where(merges_P, merged_P, id_N[:-1]), id_N[-1:]], 0)
        # The symbol on a merged pair's right is gone; the first has no left.
        keep_N = tf.concat([tf.ones_like(id_N[:1], tf.bool), ~merges_P], 0)
        return (
            tf.boolean_mask(id_N, keep_N),
            tf.boolean_mask(word_N, keep_N),
            tf.reduce_any(merges_P),
        )


def _every_second_of_a_run(merges_P: tf.Tensor) -> tf.Tensor:
    """Of pairs that overlap ("aaaa" has three) keeps the 1st, the 3rd, the 5th..."""
    position_P = tf.range(tf.size(merges_P))
    starts_P = merges_P & ~tf.concat([tf.zeros_like(merges_P[:1]), merges_P[:-1]], 0)
    start_of_run = tf.concat([[0], tf.boolean_mask(position_P, starts_P)], 0)
    start_P = tf.gather(start_of_run, tf.cumsum(tf.cast(starts_P, tf.int32)))
    return merges_P & ((position_P - start_P) % 2 == 0)


def _first_of_each_word(merges_P: tf.Tensor, word_P: tf.Tensor) -> tf.Tensor:
    """Keeps the leftmost pair of each word.

    Merging all of a word's equal pairs at once gives the same as one by one only
    where a rule's result is not used by a rule of a lower rank.
    """
    num_pairs = tf.size(merges_P)
    position_P = tf.range(num_pairs)
    first = tf.math.segment_min(tf.where(merges_P, position_P, num_pairs), word_P)
    return position_P == tf.gather(first, word_P)


def _special_pattern(token: str) -> str:
    # BART's tokenizer declares its mask with lstrip=True, the others without.
    return rf"[{WHITESPACE}]*{token}" if token == "<mask>" else token


def _id_of_byte(vocabulary: Vocabulary) -> np.ndarray:
    """int32 [256]: id of each byte and of each special token's marker, or -1."""
    ids = np.full(256, -1, np.int32)
    for byte, token_id in vocabulary.id_of_byte().items():
        # Bytes from 0xF8 on are not in UTF-8; their values serve as markers.
        if byte < FIRST_SPECIAL:
            ids[byte] = token_id
    for index, token in enumerate(SPECIAL_TOKENS):
        ids[FIRST_SPECIAL + index] = vocabulary.ids.get(token, -1)
    return ids


def _static_table(keys, values, default) -> tf.lookup.StaticHashTable:
    initializer = tf.lookup.KeyValueTensorInitializer(
        tf.convert_to_tensor(keys), tf.convert_to_tensor(values)
    )
    return tf.lookup.StaticHashTable(initializer, default)
