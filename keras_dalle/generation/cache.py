"""The keys and values of image tokens, in memory that is written in place."""

# R decoder rows, N heads, H head width, L cache length, W tokens of a row

import tensorflow as tf

Cache = list[tuple[tf.Tensor, tf.Tensor]]


def empty_cache(backbone, num_rows: tf.Tensor) -> Cache:
    """A cache of length 0: one pair (keys, values) of `[R, N, 0, H]` a layer."""
    return [
        (_zeros(backbone, num_rows, 0), _zeros(backbone, num_rows, 0))
        for _ in range(backbone.num_decoder_layers)
    ]


def cache_with_room(backbone, cache: Cache, length: tf.Tensor) -> Cache:
    """The cache, or, if it is shorter than `length`, a copy with room for as much."""
    num_rows, _, old_length, _ = tf.unstack(tf.shape(cache[0][0]))
    added = length - old_length

    def grown(x_RNLH):
        return tf.concat([x_RNLH, _zeros(backbone, num_rows, added)], axis=2)

    return tf.cond(
        added > 0,
        lambda: [(grown(keys), grown(values)) for keys, values in cache],
        lambda: [(keys, values) for keys, values in cache],
    )


def _zeros(backbone, num_rows, length):
    head_dim = backbone.hidden_dim // backbone.num_decoder_heads
    shape = tf.stack([num_rows, backbone.num_decoder_heads, length, head_dim])
    # `write_in_place` changes its operand, so that must be no constant that calls
    # share: `Empty` allocates at every run.
    dtype = tf.as_dtype(backbone.compute_dtype)
    zeros = tf.raw_ops.Empty(shape=shape, dtype=dtype, init=True)
    return tf.ensure_shape(zeros, [None, backbone.num_decoder_heads, None, head_dim])


def write_in_place(
    cache_RNLH: tf.Tensor, new_RWNH: tf.Tensor, positions_RW: tf.Tensor
) -> tf.Tensor:
    """Writes keys or values into a cache without copying it.

    Slice update, scatter and select each copy the whole cache.

    Args:
        cache_RNLH: the cache; its memory is overwritten.
        new_RWNH: the entries.
        positions_RW: int32, their places, different within a row.

    Returns:
        `[R, N, L, H]`, an alias of `cache_RNLH`.
    """
    num_rows, num_heads, length, _ = tf.unstack(tf.shape(cache_RNLH))
    head_dim = cache_RNLH.shape[-1]
    first_RN = tf.reshape(tf.range(num_rows * num_heads), [num_rows, num_heads])
    index_RWN = first_RN[:, None, :] * length + positions_RW[:, :, None]
    written = tf.raw_ops.InplaceUpdate(
        x=tf.reshape(cache_RNLH, [-1, head_dim]),
        i=tf.reshape(index_RWN, [-1]),
        v=tf.reshape(new_RWNH, [-1, head_dim]),
    )
    return tf.ensure_shape(tf.reshape(written, tf.shape(cache_RNLH)), cache_RNLH.shape)
