"""Ranking true pictures by their RGB distance to drawn ones."""

import numpy as np
import pytest

from keras_dalle.evaluation import retrieval
from keras_dalle.evaluation.retrieval import rank_by_rgb_distance, top_k_accuracy


def random_pictures(number, seed, size=4):
    shape = (number, size, size, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def naive_ranks(images, gallery, targets):
    difference = images[:, None].astype(int) - gallery[None]
    distances = (difference**2).sum(axis=(2, 3, 4))
    mine = distances[np.arange(len(images)), targets][:, None]
    return (distances <= mine).sum(axis=1)


def test_ranks_equal_the_direct_computation(monkeypatch):
    monkeypatch.setattr(retrieval, "_QUERIES_AT_ONCE", 4)
    images, gallery = random_pictures(11, seed=0), random_pictures(30, seed=1)
    targets = np.random.default_rng(2).integers(0, 30, 11)
    ranks = rank_by_rgb_distance(images, gallery, targets)
    np.testing.assert_array_equal(ranks, naive_ranks(images, gallery, targets))


def test_a_true_picture_ranks_first():
    gallery = random_pictures(9, seed=0)
    order = np.array([3, 1, 8, 0])
    ranks = rank_by_rgb_distance(gallery[order], gallery, order)
    np.testing.assert_array_equal(ranks, [1, 1, 1, 1])


def test_ties_count_against_the_target():
    gallery = np.zeros((5, 2, 2, 3), np.uint8)
    ranks = rank_by_rgb_distance(gallery[:1], gallery, np.array([0]))
    np.testing.assert_array_equal(ranks, [5])


def test_nearly_equal_distances_are_told_apart_at_full_size():
    gallery = np.full((2, 64, 64, 3), 255, np.uint8)
    gallery[1, 0, 0, 0] = 254  # nearer to black by 509 in 8e8
    black = np.zeros((1, 64, 64, 3), np.uint8)
    assert rank_by_rgb_distance(black, gallery, np.array([1])).tolist() == [1]
    assert rank_by_rgb_distance(black, gallery, np.array([0])).tolist() == [2]


def test_no_pictures_give_no_ranks():
    gallery = random_pictures(3, seed=0)
    assert rank_by_rgb_distance(gallery[:0], gallery, np.zeros(0, int)).shape == (0,)


@pytest.mark.parametrize(
    ("images", "targets", "message"),
    [
        (random_pictures(2, 0, size=8), [0, 1], "must have shapes"),
        (random_pictures(2, 0) / 255, [0, 1], "must be uint8"),
        (random_pictures(2, 0), [0], r"`targets` must be integers \[2\]"),
        (random_pictures(2, 0), [0.0, 1.0], r"`targets` must be integers \[2\]"),
        (random_pictures(2, 0), [0, 3], r"`targets` must be in \[0, 3\)"),
        (random_pictures(2, 0), [-1, 0], r"`targets` must be in \[0, 3\)"),
    ],
)
def test_wrong_arguments_are_refused(images, targets, message):
    with pytest.raises(ValueError, match=message):
        rank_by_rgb_distance(images, random_pictures(3, 1), np.array(targets))


def test_top_k_accuracy():
    ranks = np.array([1, 2, 10, 11])
    assert top_k_accuracy(ranks, 1) == 0.25
    assert top_k_accuracy(ranks, 10) == 0.75
    with pytest.raises(ValueError, match="`ranks` must not be empty"):
        top_k_accuracy(np.zeros(0, int), 1)
    with pytest.raises(ValueError, match="`k` must be positive"):
        top_k_accuracy(ranks, 0)
