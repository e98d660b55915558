"""Choosing the next image token: guidance, warping, and a Gumbel-max draw.

Every parameter is per row, and a row's choice depends on that row alone.
"""

# B batch, V vocabulary, K candidates (the widest any row keeps), best first

import tensorflow as tf

from keras_dalle.generation.random_numbers import gumbel

# K is rounded up to full SIMD registers, so that exp and log take the same
# vectorized path for a candidate whatever the other rows ask for.
_WIDTH_STEP = 16


def guide(
    conditional_BV: tf.Tensor, unconditional_BV: tf.Tensor, scale_B: tf.Tensor
) -> tf.Tensor:
    """Classifier-free guidance ("super conditioning" in the original).

    Args:
        conditional_BV: logits for the prompt.
        unconditional_BV: logits for the negative prompt.
        scale_B: 1 gives the conditional logits.

    Returns:
        `unconditional + scale * (conditional - unconditional)`, `[B, V]`.
    """
    return unconditional_BV + scale_B[:, None] * (conditional_BV - unconditional_BV)


def warp(
    logits_BV: tf.Tensor,
    temperature_B: tf.Tensor,
    top_k_B: tf.Tensor,
    top_p_B: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Scales logits by temperature and keeps the candidates of top-k and top-p.

    In the order of the original: temperature, top-k, top-p.

    Args:
        logits_BV: float32 `[B, V]`.
        temperature_B: float32 `[B]`, above 0.
        top_k_B: int32 `[B]`: exactly that many are kept, of equal logits those
            with the lower token id; 0 keeps all.
        top_p_B: float32 `[B]`: the fewest most likely tokens whose probabilities
            reach it are kept, at least one; 1 keeps all.

    Returns:
        `(values [B, K], token_ids [B, K])`, best first; values that are not kept
        are -inf.
    """
    vocabulary_size = tf.shape(logits_BV)[1]
    top_k_B = tf.where(
        top_k_B > 0, tf.minimum(top_k_B, vocabulary_size), vocabulary_size
    )
    widest = tf.reduce_max(tf.concat([top_k_B, [1]], axis=0))  # B may be 0.
    steps = -(-widest // _WIDTH_STEP)
    width = tf.minimum(steps * _WIDTH_STEP, vocabulary_size)
    values_BK, token_ids_BK = tf.math.top_k(
        logits_BV / temperature_B[:, None], k=width, sorted=True
    )
    kept_BK = tf.range(width)[None, :] < top_k_B[:, None]
    kept_BK &= _in_nucleus(values_BK, kept_BK, top_p_B)
    return tf.where(kept_BK, values_BK, float("-inf")), token_ids_BK


def _in_nucleus(
    values_BK: tf.Tensor, kept_BK: tf.Tensor, top_p_B: tf.Tensor
) -> tf.Tensor:
    """Whether the probability before a candidate is still below `top_p`."""
    # The total is the end of a running sum: it adds in the same order whatever the
    # width, so a row's candidates do not depend on the other rows' `top_k`.
    weights_BK = tf.where(kept_BK, tf.exp(values_BK - values_BK[:, :1]), 0.0)
    total_B1 = tf.cumsum(weights_BK, axis=1)[:, -1:]
    before_BK = tf.cumsum(weights_BK / total_B1, axis=1, exclusive=True)
    first_BK = tf.range(tf.shape(values_BK)[1])[None, :] == 0
    return (before_BK < top_p_B[:, None]) | first_BK | (top_p_B[:, None] >= 1.0)


def sample(
    logits_BV: tf.Tensor,
    *,
    seed: tf.Tensor,
    position: tf.Tensor,
    temperature: tf.Tensor,
    top_k: tf.Tensor,
    top_p: tf.Tensor,
) -> tf.Tensor:
    """Draws one token a row; `top_k=1` takes the best.

    Args:
        logits_BV: `[B, V]`.
        seed: int64 `[B]`.
        position: int32 scalar, the image position that is drawn.
        temperature: float32 `[B]`, above 0.
        top_k: int32 `[B]`, 0 is off.
        top_p: float32 `[B]`, 1 is off.

    Returns:
        int32 `[B]`.
    """
    logits_BV = tf.cast(logits_BV, tf.float32)
    values_BK, token_ids_BK = warp(logits_BV, temperature, top_k, top_p)
    noisy_BK = values_BK + gumbel(seed, position, token_ids_BK)
    best_B = tf.argmax(noisy_BK, axis=1, output_type=tf.int32)
    return tf.gather(token_ids_BK, best_B, batch_dims=1)
