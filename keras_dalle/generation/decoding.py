"""Autoregressive generation of image tokens with a static key/value cache."""

# B rows, S text tokens, T image tokens, V vocabulary, N heads, H head width,
# L cache length

import tensorflow as tf

from keras_dalle.generation.end_token import EndToken
from keras_dalle.generation.sampling import guide, sample


def generate_image_tokens(
    backbone,
    token_ids: tf.Tensor,
    padding_mask: tf.Tensor,
    negative_token_ids: tf.Tensor,
    negative_padding_mask: tf.Tensor,
    *,
    codebook_size: int,
    seed: tf.Tensor,
    guidance_scale: tf.Tensor,
    temperature: tf.Tensor,
    top_k: tf.Tensor,
    top_p: tf.Tensor,
    end_token: EndToken | None = None,
) -> tf.Tensor:
    """Draws the image tokens of a batch of prompts, one position at a time.

    Runs eagerly, inside a `tf.function` and in a SavedModel: no Python op, no
    XLA. A row's tokens depend on its own inputs alone: bit for bit the same in
    any batch, at any place in it (measured on CPU).

    Args:
        backbone: a `DalleBartBackbone`.
        token_ids: int32 `[B, S]`, the prompts.
        padding_mask: int32 `[B, S]`, 1 for real tokens.
        negative_token_ids: int32 `[B, S]`, what guidance leads away from.
        negative_padding_mask: int32 `[B, S]`.
        codebook_size: only tokens below it are drawn.
        seed: int64 `[B]`.
        guidance_scale: float32 `[B]`, 1 is off.
        temperature: float32 `[B]`, above 0.
        top_k: int32 `[B]`, 0 is off, 1 is greedy.
        top_p: float32 `[B]`, 1 is off.
        end_token: ends rows early, as the original does; `None` for whole pictures.

    Returns:
        int32 `[B, image_length]`.
    """
    batch_size = tf.shape(token_ids)[0]
    # Rows 0..B-1 see the prompt, rows B..2B-1 the negative prompt.
    both_mask = tf.concat([padding_mask, negative_padding_mask], axis=0)
    both_ids = tf.concat([token_ids, negative_token_ids], axis=0)
    encoded = backbone.encode(both_ids, both_mask, row_stable=True)
    cross_cache = backbone.cross_attention_cache(encoded)

    def step(position, previous_B, tokens_TB, self_cache):
        logits, self_cache = backbone.decode_step(
            tf.tile(previous_B, [2])[:, None],
            position,
            self_cache,
            cross_cache,
            both_mask,
            write=write_in_place,
        )
        logits = tf.cast(logits[:, 0, :codebook_size], tf.float32)
        conditional_BV, unconditional_BV = tf.split(logits, 2)
        logits_BV = guide(conditional_BV, unconditional_BV, guidance_scale)
        if end_token is not None:
            logits_BV = end_token.forbid(logits_BV, position)
        chosen_B = sample(
            logits_BV,
            seed=seed,
            position=position,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
        )
        return position + 1, chosen_B, tokens_TB.write(position, chosen_B), self_cache

    length = backbone.image_length
    start_B = tf.fill([batch_size], backbone.decoder_start_token_id)
    *_, tokens_TB, _ = tf.while_loop(
        lambda position, *_: position < length,
        step,
        (
            tf.constant(0),
            start_B,
            tf.TensorArray(tf.int32, size=length, element_shape=[None]),
            _empty_cache(backbone, 2 * batch_size),
        ),
        maximum_iterations=length,
    )
    tokens_BT = tf.transpose(tokens_TB.stack())
    if end_token is not None:
        tokens_BT = end_token.pad(tokens_BT)
    return tf.ensure_shape(tokens_BT, [None, length])


def _empty_cache(backbone, batch_size):
    """As `backbone.empty_self_attention_cache`, in memory of its own.

    `write_in_place` changes its operand, so that must be no constant of the graph
    that is shared between calls: `Empty` allocates at every run.
    """
    shape = tf.stack(
        [
            batch_size,
            backbone.num_decoder_heads,
            backbone.image_length,
            backbone.hidden_dim // backbone.num_decoder_heads,
        ]
    )
    dtype = tf.as_dtype(backbone.compute_dtype)

    def zeros():
        return tf.raw_ops.Empty(shape=shape, dtype=dtype, init=True)

    return [(zeros(), zeros()) for _ in range(backbone.num_decoder_layers)]


def write_in_place(
    cache_BNLH: tf.Tensor, new_BNTH: tf.Tensor, position: tf.Tensor
) -> tf.Tensor:
    """Writes one token's keys or values into a cache without copying it.

    Measured on 2 cores: 0.05 ms for a cache of 8 MiB, where slice update, scatter
    and select each copy it in 1.1 ms.

    Args:
        cache_BNLH: the cache; its memory is overwritten.
        new_BNTH: the entries, T = 1.
        position: int32 scalar.

    Returns:
        `[B, N, L, H]`, an alias of `cache_BNLH`.
    """
    batch_size, num_heads, length, _ = tf.unstack(tf.shape(cache_BNLH))
    head_dim = cache_BNLH.shape[-1]
    rows = tf.range(batch_size * num_heads) * length + position
    written = tf.raw_ops.InplaceUpdate(
        x=tf.reshape(cache_BNLH, [-1, head_dim]),
        i=rows,
        v=tf.reshape(new_BNTH, [-1, head_dim]),
    )
    return tf.ensure_shape(tf.reshape(written, tf.shape(cache_BNLH)), cache_BNLH.shape)
