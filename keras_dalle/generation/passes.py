"""Completing a picture in several passes, so that what stays behind a hole counts.

The decoder sees only what is before a token. So each pass draws what the mask asks for
anew, and the one stays under which the kept tokens behind it are likeliest: p(kept
tokens behind | prompt, tokens before), the weight that importance sampling gives to
what was drawn without a look at them.
"""

# B pictures, T image tokens, P passes after the first

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_dalle.generation.random_numbers import PASSES, random_bits
from keras_dalle.generation.scoring import score_in_batches

Rows = dict[str, Any]


def draw_in_passes(
    task: Any, rows: Rows, passes: int, draw: Callable[[Rows], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Draws rows, those with kept tokens behind a hole several times.

    The first pass has the row's seed, so that more passes only ever find kept tokens
    that are as likely or likelier.

    Args:
        task: a `DalleBartTextToImage`.
        rows: arguments of its `generate` function by name, [B, ...].
        passes: at least 1.
        draw: rows to `images` and `image_tokens`.
    """
    drawn = draw(rows)
    behind_BT = kept_behind_a_hole(np.asarray(rows["known_mask"]))
    (places_B,) = np.nonzero(behind_BT.any(axis=1))
    if passes == 1 or not len(places_B):
        return drawn
    rows = {name: tf.gather(x, places_B) for name, x in rows.items()}
    likelihood_B = _likelihood(task, rows, drawn["image_tokens"][places_B], behind_BT)
    for seed_B in pass_seeds(rows["seed"], passes - 1).T:
        candidate = draw({**rows, "seed": tf.constant(seed_B)})
        other_B = _likelihood(task, rows, candidate["image_tokens"], behind_BT)
        better_B = other_B > likelihood_B
        likelihood_B = np.where(better_B, other_B, likelihood_B)
        for name, x in candidate.items():
            drawn[name][places_B[better_B]] = x[better_B]
    return drawn


def kept_behind_a_hole(known_BT: np.ndarray) -> np.ndarray:
    """Which kept tokens stand behind one that is drawn, bool [B, T]."""
    return known_BT & (np.cumsum(~known_BT, axis=1) > 0)


def pass_seeds(seed_B: tf.Tensor, count: int) -> np.ndarray:
    """Seeds int64 [B, P] of further passes, a function of the seed and the pass."""
    high_BP, low_BP = random_bits(seed_B, tf.range(count), PASSES)
    return (high_BP.numpy().astype(np.uint64) << 32 | low_BP.numpy()).view(np.int64)


def _likelihood(task, rows, tokens_BT, behind_BT):
    """log p(kept tokens behind a hole | prompt, tokens before each), [B]."""
    per_token_BT = score_in_batches(
        task,
        {"prompts": rows["prompt"].numpy(), "image_tokens": tokens_BT},
        "log_likelihood",
        per_token=True,
    )
    return np.where(behind_BT[behind_BT.any(axis=1)], per_token_BT, 0.0).sum(axis=1)
