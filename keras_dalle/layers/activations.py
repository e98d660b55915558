"""The activations of DALL·E mini's configuration, by the original's names."""

from collections.abc import Callable
from functools import partial

from keras import ops


def smelu(x):
    """SmeLU (https://arxiv.org/abs/2202.06499) as DALL·E mini computes it.

    `(x + 1)² / 4` below 1 and `x` above, but 1/4 in place of 0 below -1, and a
    gradient of 1 everywhere: the original sets `x` to 0 there before it squares
    `x + 1`, and its rule for the derivative passes the incoming gradient on.
    """
    parabola = ops.square(ops.where(x <= -1.0, 0.0, x) + 1.0) / 4.0
    y = ops.where(x >= 1.0, x, parabola)
    return x + ops.stop_gradient(y - x)


def quick_gelu(x):
    """`x * sigmoid(1.702 x)` (https://arxiv.org/abs/1606.08415, section 2)."""
    return x * ops.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable] = {
    "gelu": partial(ops.gelu, approximate=False),
    "gelu_new": partial(ops.gelu, approximate=True),
    "quick_gelu": quick_gelu,
    "relu": ops.relu,
    "silu": ops.silu,
    "smelu": smelu,
    "swish": ops.silu,
}
