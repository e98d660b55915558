"""What the decoder is led by: prompts with weights, and a negative prompt."""

# B pictures, C prompts of a picture, S text tokens, D width, V vocabulary,
# R = (C + 1) B decoder rows: those of the first prompts, of the second, ..., negative

from typing import NamedTuple

import tensorflow as tf


class Prompts(NamedTuple):
    """The tokens of prompts.

    Attributes:
        token_ids_BCS: int32.
        padding_mask_BCS: int32, 1 for real tokens.
        weights_BC: float32, of each prompt; 0 leaves one out.
        negative_token_ids_BS: int32, what guidance leads away from.
        negative_padding_mask_BS: int32.
    """

    token_ids_BCS: tf.Tensor
    padding_mask_BCS: tf.Tensor
    weights_BC: tf.Tensor
    negative_token_ids_BS: tf.Tensor
    negative_padding_mask_BS: tf.Tensor

    @classmethod
    def of_one_each(cls, token_ids, padding_mask, negative_ids, negative_mask):
        """One prompt a picture, of weight 1: all `[B, S]`."""
        token_ids_BCS = tf.convert_to_tensor(token_ids)[:, None]
        weights_BC = tf.ones(tf.shape(token_ids_BCS)[:2])
        padding_mask_BCS = tf.convert_to_tensor(padding_mask)[:, None]
        return cls(
            token_ids_BCS, padding_mask_BCS, weights_BC, negative_ids, negative_mask
        )


class Conditioning(NamedTuple):
    """What every decoder step reads.

    Attributes:
        cross_cache: one pair (keys, values) of `[R, N, S, H]` a decoder layer.
        padding_mask_RS: int32.
        weights_BC: float32.
    """

    cross_cache: list[tuple[tf.Tensor, tf.Tensor]]
    padding_mask_RS: tf.Tensor
    weights_BC: tf.Tensor


def encode_prompts(backbone, prompts: Prompts) -> Conditioning:
    """Reads the prompts, each text once: blank negative prompts are mostly one."""
    ids_RS = _rows(prompts.token_ids_BCS, prompts.negative_token_ids_BS)
    mask_RS = _rows(prompts.padding_mask_BCS, prompts.negative_padding_mask_BS)
    length = tf.shape(ids_RS)[1]
    texts, text_R = tf.raw_ops.UniqueV2(x=tf.concat([ids_RS, mask_RS], 1), axis=[0])
    states = backbone.encode(texts[:, :length], texts[:, length:], row_stable=True)
    cross_cache = [
        (tf.gather(keys, text_R), tf.gather(values, text_R))
        for keys, values in backbone.cross_attention_cache(states)
    ]
    return Conditioning(cross_cache, mask_RS, prompts.weights_BC)


def _rows(x_BCS, negative_x_BS):
    x_CBS = tf.transpose(x_BCS, [1, 0, 2])
    x_RS = tf.concat([x_CBS, negative_x_BS[None]], axis=0)
    return tf.reshape(x_RS, [-1, tf.shape(x_BCS)[2]])


def repeat_for_prompts(x_B: tf.Tensor, weights_BC: tf.Tensor) -> tf.Tensor:
    """`[B, ...]` -> `[R, ...]`, once for each of a picture's decoder rows."""
    repeats = tf.shape(weights_BC)[1] + 1
    return tf.tile(
        x_B, tf.concat([[repeats], tf.ones([tf.rank(x_B) - 1], tf.int32)], 0)
    )


def guide(
    logits_RWV: tf.Tensor, weights_BC: tf.Tensor, scale_BW: tf.Tensor
) -> tf.Tensor:
    """Classifier-free guidance by all prompts of a picture.

    `negative + Σ scale * weight * (prompt - negative)`: of one prompt, "super
    conditioning" in the original; of several, https://arxiv.org/abs/2206.01714, eq. 11.

    Args:
        logits_RWV: of the decoder's rows.
        weights_BC: of the prompts.
        scale_BW: 1 gives the logits of one prompt of weight 1.

    Returns:
        `[B, W, V]`.
    """
    batch_size, num_prompts = tf.unstack(tf.shape(weights_BC))
    _, length, vocabulary_size = tf.unstack(tf.shape(logits_RWV))
    shape = [num_prompts + 1, batch_size, length, vocabulary_size]
    logits_CBWV = tf.reshape(logits_RWV, shape)
    negative_BWV = logits_CBWV[-1]
    factor_CBW = tf.transpose(weights_BC)[:, :, None] * scale_BW
    change_CBWV = factor_CBW[..., None] * (logits_CBWV[:-1] - negative_BWV)
    return negative_BWV + tf.reduce_sum(change_CBWV, axis=0)
