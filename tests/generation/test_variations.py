"""Variations of a picture: a share of its tokens stays."""

import numpy as np
import pytest

from keras_dalle.generation.variations import kept_positions
from tests.tiny_preset import tiny_task

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (10, 8, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def task():
    return tiny_task()


def vary(task, prompts, **arguments):
    given = {"image": IMAGE, "seed": 3, "return_tokens": True}
    return task.generate(prompts, **{**given, **arguments})


def test_a_larger_fraction_keeps_those_of_a_smaller_one_and_more():
    seeds = np.arange(-3, 40)
    before = np.zeros((43, 64), bool)
    for fraction in (0.0, 0.1, 0.35, 0.6, 0.99, 1.0):
        kept = kept_positions(seeds, fraction, 64)
        assert (kept.sum(axis=1) == np.floor(64 * fraction + 0.5)).all()
        assert (kept | ~before).all()
        before = kept
    # Each position is as likely as another: 43 draws of 0.35, of deviation 3.1.
    counts = kept_positions(seeds, 0.35, 64).sum(axis=0)
    assert counts.min() > 2 and counts.max() < 28
    np.testing.assert_array_equal(
        kept_positions(seeds[7:9], [0.1, 0.6], 64)[1], kept_positions(seeds, 0.6, 64)[8]
    )


def test_kept_tokens_stay_and_the_others_are_drawn(task):
    tokens = task.encode_images(IMAGE)
    drawn = vary(task, ["a cat"] * 8, keep_fraction=0.5, seed=list(range(8)))
    kept = kept_positions(np.arange(8), 0.5, 16)
    same = drawn["image_tokens"] == tokens
    assert same[kept].all()
    assert same[~kept].mean() < 0.3  # 32 codes: by chance a few
    assert not (kept == kept[0]).all()


def test_all_kept_is_the_images_own_reconstruction(task):
    drawn = vary(task, "a cat", keep_fraction=1)
    expected = task.decode_tokens(task.encode_images(IMAGE))
    np.testing.assert_array_equal(drawn["images"], expected)


def test_none_kept_is_a_plain_generation(task):
    np.testing.assert_array_equal(
        vary(task, "a cat", keep_fraction=0.0)["images"], task.generate("a cat", seed=3)
    )


def test_with_a_mask_what_is_outside_it_stays_too(task):
    mask = np.zeros((10, 8))
    mask[5:] = 1
    open_T = np.arange(16) >= 8
    drawn = vary(task, "a cat", keep_fraction=0.5, mask=mask)
    kept = kept_positions([3], 0.5, 16)[0] | ~open_T
    assert (drawn["image_tokens"] == task.encode_images(IMAGE))[kept].all()
    none = vary(task, "a cat", keep_fraction=0.0, mask=mask)
    plain = vary(task, "a cat", mask=mask)
    np.testing.assert_array_equal(none["images"], plain["images"])


def test_each_picture_of_a_prompt_is_another_variation(task):
    prompts = ["a cat", "a dog"]
    drawn = vary(task, prompts, keep_fraction=[0.25, 0.75], num_images=3, seed=[5, 9])
    assert drawn["image_tokens"].shape == (2, 3, 16)
    alone = vary(task, "a dog", keep_fraction=0.75, seed=11)
    np.testing.assert_array_equal(drawn["images"][1, 2], alone["images"])
    *_, streamed = task.generate_stream(
        "a dog", image=IMAGE, keep_fraction=0.75, seed=11
    )
    np.testing.assert_array_equal(streamed, alone["images"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep_fraction": 1.5}, "from 0 to 1. Received: 1.5"),
        ({"keep_fraction": float("nan")}, "from 0 to 1. Received: nan"),
        ({"keep_fraction": [0.1, 0.2, 0.3]}, r"one per prompt \(=2\). Received: 3"),
        ({"keep_fraction": 0.5, "image": None}, "need each other"),
    ],
)
def test_faults_are_named(task, arguments, message):
    with pytest.raises(ValueError, match=message):
        vary(task, ["a cat", "a dog"], **arguments)
