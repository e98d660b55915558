"""Where Shampoo's step size comes from: the update of a diagonal optimizer."""

from collections.abc import Callable
from dataclasses import dataclass

from keras import ops


def norm(x, axes=None):
    """The Euclidean norm over `axes`, which stay as 1; `None` for all."""
    return ops.sqrt(ops.sum(ops.square(x), axis=axes, keepdims=True))


@dataclass(frozen=True)
class Graft:
    """One kind of grafting.

    Attributes:
        is_normalized: whether the gradient is divided by its norm first.
        accumulate: `(statistics, gradient, beta2) -> statistics` of the diagonal;
            `None` where there are none.
        direction: of an update without statistics, `gradient -> update`.
        is_clipped: whether a root mean square above a bound is scaled down to it.
    """

    is_normalized: bool = False
    accumulate: Callable | None = None
    direction: Callable = lambda gradient: gradient
    is_clipped: bool = False


def _sum_of_squares(statistics, gradient, beta2):
    return statistics + ops.square(gradient)


def _average_of_squares(statistics, gradient, beta2):
    weight = beta2 if beta2 == 1.0 else 1.0 - beta2
    return beta2 * statistics + weight * ops.square(gradient)


GRAFTS = {
    "sgd": Graft(),
    "sqrt_n": Graft(direction=ops.sign),
    "adagrad": Graft(accumulate=_sum_of_squares),
    "adagrad_normalized": Graft(is_normalized=True, accumulate=_sum_of_squares),
    "rmsprop": Graft(accumulate=_average_of_squares, is_clipped=True),
    "rmsprop_normalized": Graft(
        is_normalized=True, accumulate=_average_of_squares, is_clipped=True
    ),
}
