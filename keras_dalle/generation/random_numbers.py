"""Random numbers that depend on (seed, position, token) and on nothing else.

Threefry-2x32 with 20 rounds in plain uint32 operations: the same numbers with and
without XLA, for any batch, and for a token whether or not others are drawn.
"""

# B batch, K tokens

import tensorflow as tf

# Constants of Threefry-2x32, from Salmon et al., "Parallel Random Numbers: As Easy
# as 1, 2, 3", SC 2011, and its library Random123.
_PARITY = 0x1BD11BDA
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_ROUNDS = 20

# Second words of the counter that are no image positions.
KEPT_POSITIONS = 0xFFFFFFFF
PASSES = 0xFFFFFFFE


def threefry2x32(
    key: tuple[tf.Tensor, tf.Tensor], counter: tuple[tf.Tensor, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Encrypts counters with keys.

    Args:
        key: two uint32 tensors.
        counter: two uint32 tensors; all four broadcast together.

    Returns:
        Two uint32 tensors of uniformly distributed bits.
    """
    keys = (key[0], key[1], key[0] ^ key[1] ^ tf.constant(_PARITY, tf.uint32))
    x0 = counter[0] + keys[0]
    x1 = counter[1] + keys[1]
    for group in range(_ROUNDS // 4):
        for rotation in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = x0 ^ _rotate_left(x1, rotation)
        x0 = x0 + keys[(group + 1) % 3]
        x1 = x1 + keys[(group + 2) % 3] + tf.constant(group + 1, tf.uint32)
    return x0, x1


def _rotate_left(x: tf.Tensor, bits: int) -> tf.Tensor:
    left = tf.bitwise.left_shift(x, tf.constant(bits, tf.uint32))
    return left | tf.bitwise.right_shift(x, tf.constant(32 - bits, tf.uint32))


def random_bits(
    seed: tf.Tensor, index: tf.Tensor, purpose: tf.Tensor | int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Random bits of each row. The key is its seed, the counter is (index, purpose).

    Args:
        seed: int64 `[B]`.
        index: int32 `[B, K]` or `[K]`.
        purpose: scalar or `[B]`: an image position, or a constant of this module.

    Returns:
        Two uint32 tensors `[B, K]`.
    """
    low = tf.cast(seed & 0xFFFFFFFF, tf.uint32)
    high = tf.cast(tf.bitwise.right_shift(seed, 32) & 0xFFFFFFFF, tf.uint32)
    purpose_B = tf.broadcast_to(tf.cast(purpose, tf.uint32), tf.shape(seed))
    return threefry2x32(
        key=(low[:, None], high[:, None]),
        counter=(tf.cast(index, tf.uint32), purpose_B[:, None]),
    )


def gumbel(seed: tf.Tensor, position: tf.Tensor, token_ids: tf.Tensor) -> tf.Tensor:
    """Standard Gumbel noise for some tokens of each row.

    The key is the row's seed, the counter is (token id, position).

    Args:
        seed: int64 `[B]`.
        position: int32, scalar or `[B]`: the image position that is drawn.
        token_ids: int32 `[B, K]` or `[K]`.

    Returns:
        float32 `[B, K]`, finite.
    """
    bits_BK, _ = random_bits(seed, token_ids, position)
    # In (0, 1), finest near 0, where the largest noise comes from. The bound keeps
    # float32's rounding away from 1.
    uniform_BK = (tf.cast(bits_BK, tf.float32) + 0.5) * 2.0**-32
    uniform_BK = tf.minimum(uniform_BK, 1.0 - 2.0**-24)
    return -tf.math.log(-tf.math.log1p(-uniform_BK))
