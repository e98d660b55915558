"""Inverse roots against the eigenvalue decomposition."""

import numpy as np
import pytest

from keras_dalle.optimizers.matrix_root import inverse_pth_root, largest_eigenvalue

RNG = np.random.default_rng(0)


def _positive(side, count):
    rows = RNG.standard_normal((count, side, 3 * side))
    return (rows @ rows.swapaxes(1, 2) / side).astype("float32")


def test_largest_eigenvalue():
    matrices = _positive(12, 3)
    expected = np.linalg.eigvalsh(matrices)[:, -1]
    np.testing.assert_allclose(largest_eigenvalue(matrices), expected, rtol=1e-3)


@pytest.mark.parametrize("p", [1, 2, 4, 6])
def test_root(p):
    matrices = _positive(12, 3)
    roots, errors = inverse_pth_root(matrices, p, ridge_epsilon=1e-6)
    values, vectors = np.linalg.eigh(matrices.astype("float64"))
    values += 1e-6 * values[:, -1:]
    expected = vectors * values[:, None] ** (-1 / p) @ vectors.swapaxes(1, 2)
    np.testing.assert_allclose(roots, expected, atol=1e-3 * np.abs(expected).max())
    assert np.max(errors) < 1e-3


def test_leading_dimensions():
    matrices = _positive(8, 6)
    roots, errors = inverse_pth_root(matrices.reshape(2, 3, 8, 8), 4, 1e-6)
    expected, expected_errors = inverse_pth_root(matrices, 4, 1e-6)
    np.testing.assert_array_equal(np.reshape(roots, (6, 8, 8)), expected)
    np.testing.assert_array_equal(np.reshape(errors, 6), expected_errors)


def test_each_matrix_stops_by_itself():
    matrices = _positive(8, 4)
    together, _ = inverse_pth_root(matrices, 4, 1e-6)
    for i in range(4):
        alone, _ = inverse_pth_root(matrices[i : i + 1], 4, 1e-6)
        np.testing.assert_allclose(together[i], alone[0], atol=1e-5)


def test_single_numbers():
    roots, errors = inverse_pth_root(np.array([[[16.0]]], "float32"), 4, 0.0)
    np.testing.assert_allclose(roots, [[[0.5]]])
    assert np.max(errors) == 0


def test_what_is_no_number_has_no_small_error():
    _, errors = inverse_pth_root(np.full((1, 3, 3), np.nan, "float32"), 2, 1e-6)
    assert not np.all(np.asarray(errors) < 0.1)
