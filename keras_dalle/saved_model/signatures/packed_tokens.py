"""Image tokens on the wire: one string of bytes a row, little-endian int32.

A row of another length is a row with an error then, where in a tensor of numbers it
would be an error of the whole batch.
"""

# B batch, T image tokens, b = 4 T bytes

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_dalle.saved_model.signatures.row_function import Input, join_errors

NO_TOKEN = -1
TOKENS_NAME = "image_tokens_bytes"
IMAGE_TOKENS = Input(TOKENS_NAME, tf.string)
_TOKEN_BYTES = 4


class UnpackedTokens(NamedTuple):
    """Image tokens of rows, zeros where there are none.

    Attributes:
        tokens_BT: int32, all of them tokens.
        count_B: int32, how many there are.
        error_B: texts, empty for good rows.
    """

    tokens_BT: tf.Tensor
    count_B: tf.Tensor
    error_B: tf.Tensor


def unpack_tokens(
    packed_B: tf.Tensor, length: int, codebook_size: int, whole: bool = True
) -> UnpackedTokens:
    """Reads rows of tokens. Faulty rows have no token, and a text.

    Args:
        packed_B: string.
        length: T.
        codebook_size: a token is below it.
        whole: whether a row must have all T, not only the first of them.
    """
    size_B = tf.strings.length(packed_B)
    wanted = _TOKEN_BYTES * length
    fits_B = size_B == wanted if whole else size_B <= wanted
    fits_B &= size_B % _TOKEN_BYTES == 0
    packed_B = tf.where(fits_B, packed_B, "")
    tokens_BT = tf.io.decode_raw(packed_B, tf.int32, fixed_length=wanted)
    tokens_BT = tf.ensure_shape(tokens_BT, [None, length])
    is_token_BT = (tokens_BT >= 0) & (tokens_BT < codebook_size)
    error_B = join_errors(
        tf.where(fits_B, "", _size_text(size_B, length, whole)),
        _token_text(tokens_BT, is_token_BT, codebook_size),
    )
    count_B = tf.where(error_B == "", size_B // _TOKEN_BYTES, 0)
    tokens_BT = tf.where(error_B[:, None] == "", tokens_BT, 0)
    return UnpackedTokens(tokens_BT, count_B, error_B)


def pack_tokens(tokens_BT: tf.Tensor, count_B: tf.Tensor) -> tf.Tensor:
    """The first `count_B` tokens of each row as strings [B]."""
    num_bytes = _TOKEN_BYTES * tokens_BT.shape[1]
    byte_Bb = tf.reshape(tf.bitcast(tokens_BT, tf.uint8), [-1, num_bytes])
    characters_Bb = tf.gather(_CHARACTERS, tf.cast(byte_Bb, tf.int32))
    packed_B = tf.strings.reduce_join(characters_Bb, axis=1)
    return tf.strings.substr(packed_B, tf.zeros_like(count_B), _TOKEN_BYTES * count_B)


# As objects: an array of NumPy's own strings drops NUL at their end.
_CHARACTERS = np.array([bytes([byte]) for byte in range(256)], object)


def _size_text(size_B, length, whole):
    number = f"{length} int32" if whole else f"at most {length} int32"
    rule = f"`{TOKENS_NAME}` must be {number}, {_TOKEN_BYTES} bytes each. Received: "
    return tf.strings.join([rule, tf.strings.as_string(size_B), " bytes."])


def _token_text(tokens_BT, is_token_BT, codebook_size):
    """Names the first that is no token."""
    place_B = tf.argmin(tf.cast(is_token_BT, tf.int32), axis=1)
    wrong_B = tf.gather(tokens_BT, place_B, batch_dims=1)
    rule = f"Image tokens must be from 0 to {codebook_size - 1}. Received: "
    text_B = tf.strings.join([rule, tf.strings.as_string(wrong_B), "."])
    return tf.where(tf.reduce_all(is_token_BT, axis=1), "", text_B)
