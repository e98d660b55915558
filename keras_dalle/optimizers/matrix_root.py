"""Inverse p-th roots of symmetric matrices by matrix products alone."""

# N matrices in any number of dimensions, M their side

import numpy as np
from keras import ops

_POWER_ITERATIONS = 100
# 100 as well. Whether any matrix still needs more is asked between the stages alone:
# on a mesh the question goes to all devices, which cannot be done within a loop.
_NEWTON_STAGES = 4
_ITERATIONS_A_STAGE = 25
_TOLERANCE = 1e-6
# The error may rise once before it falls; by more than this, an iteration diverges.
_LARGEST_INCREASE = 1.2


def inverse_pth_root(matrices_NMM, p: int, ridge_epsilon: float):
    """`(A + ε λ I)^(-1/p)` by coupled Newton iterations, for a stack of matrices.

    Higham, Functions of Matrices (2008), equation 7.18. Each matrix stops by itself.

    Args:
        matrices_NMM: symmetric, positive semi-definite, `[..., M, M]`.
        p: positive int.
        ridge_epsilon: ε, relative to each matrix's largest eigenvalue λ.

    Returns:
        The roots `[..., M, M]`, and the errors `[...]`: the largest entry of
        `|root^p (A + ε λ I) - I|`.
    """
    largest_N = ops.maximum(largest_eigenvalue(matrices_NMM), 1e-6)
    ridge_N11 = (ridge_epsilon * largest_N)[..., None, None]
    side = matrices_NMM.shape[-1]
    if side == 1:
        return (matrices_NMM + ridge_N11) ** (-1.0 / p), ops.zeros_like(largest_N)
    # Not `ops.eye`, which DTensor cannot lay out.
    rows_M = ops.arange(side)
    identity_MM = ops.cast(rows_M[:, None] == rows_M, matrices_NMM.dtype)
    damped_NMM = matrices_NMM + ridge_N11 * identity_MM
    norm_N = ops.sqrt(ops.sum(ops.square(damped_NMM), axis=(-2, -1)))
    z_N11 = ((1 + p) / (2 * norm_N))[..., None, None]
    power_NMM = damped_NMM * z_N11
    root_NMM = identity_MM * z_N11 ** (1.0 / p)
    error_N = _distance(power_NMM, identity_MM)

    def step(_, state):
        power_NMM, root_NMM, previous_NMM, error_N, is_falling_N = state
        is_active_N = _is_active(error_N, is_falling_N)
        factor_NMM = (1 + 1 / p) * identity_MM - power_NMM / p
        new_power_NMM = ops.matmul(_power(factor_NMM, p), power_NMM)
        new_root_NMM = ops.matmul(root_NMM, factor_NMM)
        new_error_N = _distance(new_power_NMM, identity_MM)
        is_active_N11 = is_active_N[..., None, None]
        return (
            ops.where(is_active_N11, new_power_NMM, power_NMM),
            ops.where(is_active_N11, new_root_NMM, root_NMM),
            ops.where(is_active_N11, root_NMM, previous_NMM),
            ops.where(is_active_N, new_error_N, error_N),
            ops.where(
                is_active_N, new_error_N < error_N * _LARGEST_INCREASE, is_falling_N
            ),
        )

    # All true, but where the error is no number, and nothing is active.
    is_falling_N = error_N < np.inf
    state = (power_NMM, root_NMM, root_NMM, error_N, is_falling_N)
    for _ in range(_NEWTON_STAGES):
        state = ops.cond(
            ops.any(_is_active(*state[3:])),
            lambda state=state: ops.fori_loop(0, _ITERATIONS_A_STAGE, step, state),
            lambda state=state: state,
        )
    _, root_NMM, previous_NMM, error_N, is_falling_N = state
    return ops.where(is_falling_N[..., None, None], root_NMM, previous_NMM), error_N


def _is_active(error_N, is_falling_N):
    return ops.logical_and(error_N > _TOLERANCE, is_falling_N)


def _distance(matrices_NMM, identity_MM):
    return ops.max(ops.abs(matrices_NMM - identity_MM), axis=(-2, -1))


def _power(matrices_NMM, p):
    """`A^p` by repeated squaring."""
    result_NMM = None
    while p:
        if p % 2:
            result_NMM = (
                matrices_NMM
                if result_NMM is None
                else ops.matmul(matrices_NMM, result_NMM)
            )
        p //= 2
        if p:
            matrices_NMM = ops.matmul(matrices_NMM, matrices_NMM)
    return result_NMM


def largest_eigenvalue(matrices_NMM):
    """The largest eigenvalue of each matrix `[...]`, by power iteration."""
    side = matrices_NMM.shape[-1]
    # The original's start, so that the same number of steps gives the same value.
    start_M = np.random.RandomState(1729).uniform(-1.0, 1.0, side)
    vectors_NM = ops.zeros_like(matrices_NMM[..., 0, :]) + ops.cast(
        start_M, matrices_NMM.dtype
    )

    def step(_, state):
        vectors_NM, values_N, is_active_N = state
        norms_N1 = ops.sqrt(ops.sum(ops.square(vectors_NM), axis=-1, keepdims=True))
        unit_NM = vectors_NM / norms_N1
        new_NM = ops.matmul(matrices_NMM, unit_NM[..., None])[..., 0]
        new_values_N = ops.sum(unit_NM * new_NM, axis=-1)
        still_N = ops.abs(new_values_N - values_N) > _TOLERANCE
        return (
            ops.where(is_active_N[..., None], new_NM, vectors_NM),
            ops.where(is_active_N, new_values_N, values_N),
            ops.logical_and(is_active_N, still_N),
        )

    zeros_N = ops.zeros_like(vectors_NM[..., 0])
    state = (vectors_NM, zeros_N, zeros_N < 1)
    _, values_N, _ = ops.fori_loop(0, _POWER_ITERATIONS, step, state)
    return values_N
