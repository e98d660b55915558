"""Rows of equal length from token ids of unequal length."""
# B prompts, S text tokens

import tensorflow as tf


def pack_prompts(
    ids: tf.Tensor | tf.RaggedTensor,
    max_length: int,
    start_id: int,
    end_id: int,
    pad_id: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Puts `<s>` before and `</s>` after each prompt, then pads or truncates it.

    As Hugging Face `tokenizers` do with BART's template: what is cut off is the
    prompt's end, `</s>` stays. A blank prompt is `<s> </s>` and padding.

    Args:
        ids: int32 [B, None], ragged, or [N] of one prompt.
        max_length: S, at least 2.
        start_id: id of `<s>`.
        end_id: id of `</s>`.
        pad_id: id of `<pad>`.

    Returns:
        `token_ids` and `padding_mask` (1 = not padding), both int32 [B, S], or [S].

    Raises:
        ValueError: if `max_length` leaves no room for `<s>` and `</s>`.
    """
    if max_length < 2:
        raise ValueError(
            "`max_length` must be at least 2, since every row has <s> and </s>. "
            f"Received: max_length={max_length}. Give a larger one."
        )
    if not isinstance(ids, tf.RaggedTensor):
        rows = tf.RaggedTensor.from_tensor(ids[tf.newaxis])
        token_ids_1S, padding_mask_1S = pack_prompts(
            rows, max_length, start_id, end_id, pad_id
        )
        return token_ids_1S[0], padding_mask_1S[0]
    ids = ids[:, : max_length - 2]
    start_B1 = tf.fill([ids.nrows(), 1], tf.cast(start_id, ids.dtype))
    end_B1 = tf.fill([ids.nrows(), 1], tf.cast(end_id, ids.dtype))
    rows = tf.concat([start_B1, ids, end_B1], axis=1)
    token_ids_BS = rows.to_tensor(pad_id, shape=[None, max_length])
    padding_mask_BS = tf.sequence_mask(rows.row_lengths(), max_length, tf.int32)
    return tf.cast(token_ids_BS, tf.int32), padding_mask_BS
