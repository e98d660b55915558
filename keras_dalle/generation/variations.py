"""Variations of a picture: some of its image tokens stay, at random places."""

# B pictures, T image tokens

from typing import Any

import numpy as np
import tensorflow as tf

from keras_dalle.generation.prompt_inputs import one_a_prompt
from keras_dalle.generation.random_numbers import KEPT_POSITIONS, random_bits
from keras_dalle.utils.foreign_values import shortened
from keras_dalle.utils.plain_values import reals


def kept_positions(seed_B: Any, fraction_B: Any, length: int) -> np.ndarray:
    """Which image tokens of each picture stay.

    A function of the seed and the positions alone: a larger fraction keeps those of a
    smaller one, and some more.

    Args:
        seed_B: int64.
        fraction_B: float, from 0 to 1, or one for all.
        length: T.

    Returns:
        bool [B, T], of which `fraction * T` are true, rounded to a whole number.
    """
    seed_B = np.asarray(seed_B)
    bits_BT, _ = random_bits(tf.constant(seed_B), tf.range(length), KEPT_POSITIONS)
    rank_BT = np.argsort(np.argsort(bits_BT, axis=1, kind="stable"), axis=1)
    fraction_B = np.broadcast_to(fraction_B, seed_B.shape)
    return rank_BT < np.floor(fraction_B * length + 0.5)[:, None]


def checked_fractions(keep_fraction: Any, count: int) -> np.ndarray:
    """One fraction a prompt, float [B].

    Raises:
        ValueError: one is not from 0 to 1, or there is another number of them.
    """
    fraction_B = reals("keep_fraction", keep_fraction)
    if not ((fraction_B >= 0.0) & (fraction_B <= 1.0)).all():
        raise ValueError(
            "`keep_fraction` must be from 0 to 1. Received: "
            f"{shortened(keep_fraction)}."
        )
    return one_a_prompt("keep_fraction", fraction_B, count)
