"""Layer norms of DALL·E mini's transformer and the table of their placements.

A norm in front of a dense layer has a bias but no scale, since the dense layer
can learn the scale. Every placement of the original model is a row of
`NORM_PLACEMENTS`; `None` stands for "no norm here".
"""

from dataclasses import dataclass
from functools import partial

import keras

EPSILON = 1e-5

NORMS = {
    None: keras.layers.Identity,
    "scaled": partial(keras.layers.LayerNormalization, epsilon=EPSILON),
    "unscaled": partial(keras.layers.LayerNormalization, epsilon=EPSILON, scale=False),
}


@dataclass(frozen=True)
class NormPlacement:
    """Which norm (a key of `NORMS`) stands where in a transformer layer."""

    before_attention: str | None = None
    after_attention: str | None = None
    before_feed_forward: str | None = None
    inside_feed_forward: str | None = None


NORM_PLACEMENTS = {
    # NormFormer, https://arxiv.org/abs/2110.09456
    "normformer": NormPlacement(
        before_attention="unscaled",
        after_attention="scaled",
        before_feed_forward="unscaled",
        inside_feed_forward="unscaled",
    ),
}


def make_norm(kind: str | None, dtype=None, name: str | None = None):
    """Builds the norm layer `NORMS[kind]`.

    Args:
        kind: a key of `NORMS`; `None` gives a layer that changes nothing.
        dtype: dtype policy of the layer.
        name: name of the layer.
    """
    return NORMS[kind](dtype=dtype, name=name)


def norm_placement(name: str) -> NormPlacement:
    """Looks up a row of `NORM_PLACEMENTS`.

    Raises:
        ValueError: there is no such placement.
    """
    if name not in NORM_PLACEMENTS:
        raise ValueError(
            f"`norm_placement` must be one of {sorted(NORM_PLACEMENTS)}. "
            f"Received: norm_placement={name!r}"
        )
    return NORM_PLACEMENTS[name]
