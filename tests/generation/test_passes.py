"""Completion in several passes: what stays behind a hole has a say."""

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.generation.passes import kept_behind_a_hole, pass_seeds
from tests.tiny_preset import tiny_task

RNG = np.random.default_rng(0)
PROMPTS = ["a cat", "a dog", "", "the sun"] * 4
SEEDS = list(range(len(PROMPTS)))
IMAGES = RNG.integers(0, 256, (len(PROMPTS), 8, 8, 3)).astype(np.uint8)
# The upper half is drawn; 8 tokens below it stay.
UPPER = np.arange(8)[:, None] * np.ones(8) < 4


@pytest.fixture(scope="module")
def task():
    return tiny_task()


def complete(task, passes, rows=slice(None), mask=UPPER):
    return task.generate(
        PROMPTS[rows],
        image=IMAGES[rows],
        mask=mask,
        seed=SEEDS[rows],
        guidance_scale=1.0,
        passes=passes,
        return_tokens=True,
    )


def kept_likelihood(task, tokens_BT):
    """log p(lower half | prompt, upper half) of each picture."""
    inputs = {"prompts": PROMPTS, "image_tokens": tokens_BT}
    return task.score(inputs, per_token=True)[:, 8:].sum(axis=1)


def test_more_passes_find_pictures_in_which_what_stays_is_likelier(task):
    tokens = [complete(task, passes)["image_tokens"] for passes in (1, 3, 9)]
    for tokens_BT in tokens:
        np.testing.assert_array_equal(tokens_BT[:, 8:], tokens[0][:, 8:])
    one, three, nine = (kept_likelihood(task, tokens_BT) for tokens_BT in tokens)
    assert (three >= one).all() and (nine >= three).all()
    assert one.mean() < three.mean() < nine.mean() - 1.0


def test_the_picture_fits_its_tokens(task):
    drawn = complete(task, 4)
    np.testing.assert_array_equal(
        drawn["images"], task.decode_tokens(drawn["image_tokens"])
    )


def test_a_row_depends_on_itself_alone(task):
    together = complete(task, 4)["image_tokens"]
    for row in (0, 7, 15):
        alone = complete(task, 4, slice(row, row + 1))["image_tokens"]
        np.testing.assert_array_equal(alone[0], together[row])


def test_where_nothing_stays_behind_the_hole_passes_change_nothing(task):
    lower = [~UPPER, UPPER, ~UPPER]
    few = slice(0, 3)
    one, many = (complete(task, passes, few, lower) for passes in (1, 5))
    np.testing.assert_array_equal(one["images"][[0, 2]], many["images"][[0, 2]])
    free = {"seed": 1, "return_tokens": True}
    np.testing.assert_array_equal(
        task.generate("a cat", passes=5, **free)["images"],
        task.generate("a cat", **free)["images"],
    )


def test_kept_behind_a_hole():
    known = np.array([[1, 1, 0, 1, 0, 1], [1, 1, 1, 0, 0, 0], [1] * 6, [0] * 6], bool)
    behind = [[0, 0, 0, 1, 0, 1], [0] * 6, [0] * 6, [0] * 6]
    np.testing.assert_array_equal(kept_behind_a_hole(known), np.array(behind, bool))


def test_seeds_of_passes_are_all_different():
    seeds = pass_seeds(tf.range(200, dtype=tf.int64) - 100, 50)
    assert seeds.dtype == np.int64 and len(np.unique(seeds)) == 200 * 50
    np.testing.assert_array_equal(
        pass_seeds(tf.constant([7], tf.int64), 3)[0], seeds[107, :3]
    )


def test_passes_must_be_positive(task):
    with pytest.raises(ValueError, match="`passes` must be .* at least 1. Received: 0"):
        task.generate("a cat", passes=0)
