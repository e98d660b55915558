"""The original's way to end a picture early."""

# B rows, W positions, T image tokens, V vocabulary

from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class EndToken:
    """A token after which a row is padding, as in the original's generation.

    DALL·E mini's generation stops a row that draws the end token, which leaves it
    without a picture where that token is inside the vocabulary (Mega). Generation here
    never draws it unless this is asked for, to compare.

    Attributes:
        token_id: the end token.
        pad_token_id: what fills the row behind it.
        min_length: the end token is not drawn while a row, its start token included,
            has at most this many tokens.
    """

    token_id: int
    pad_token_id: int
    min_length: int = 0

    def forbid(self, logits_BWV: tf.Tensor, positions_BW: tf.Tensor) -> tf.Tensor:
        """The logits of image positions, without the end token where it is early."""
        is_early_BW = positions_BW + 1 <= self.min_length
        is_end_V = tf.range(tf.shape(logits_BWV)[2]) == self.token_id
        return tf.where(is_early_BW[..., None] & is_end_V, float("-inf"), logits_BWV)

    def pad(self, tokens_BT: tf.Tensor) -> tf.Tensor:
        """Tokens with everything behind the first end token padded."""
        is_end_BT = tf.cast(tokens_BT == self.token_id, tf.int32)
        is_after_BT = tf.cumsum(is_end_BT, axis=1, exclusive=True) > 0
        return tf.where(is_after_BT, self.pad_token_id, tokens_BT)
