"""`best_of`: the highest scores are kept, in order, with their pictures and seeds."""

import numpy as np
import pytest

from keras_dalle.generation.ranking import DEFAULT_RANKER, best_first, best_of
from keras_dalle.generation.scoring import SCORING_MODES
from tests.tiny_preset import tiny_task

PROMPTS = ["a red heart", "the sun"]


@pytest.fixture(scope="module")
def task():
    return tiny_task()


def brightness(prompts, images, image_tokens):
    return images.mean(axis=(1, 2, 3))


@pytest.mark.parametrize("scoring_mode", SCORING_MODES)
def test_keeps_the_best_of_the_model_in_order(task, scoring_mode):
    parameters = {"seed": [7, 20], "guidance_scale": 1.0, "temperature": 3.0}
    ranked = best_of(task, PROMPTS, 5, 3, scoring_mode, **parameters)
    assert ranked.images.shape == (2, 3, 8, 8, 3) and ranked.images.dtype == np.uint8
    drawn = task.generate(PROMPTS, num_images=5, return_tokens=True, **parameters)
    for row, prompt in enumerate(PROMPTS):
        scores = task.score(
            {"prompts": prompt, "image_tokens": drawn["image_tokens"][row]},
            scoring_mode=scoring_mode,
        )
        assert len(set(scores)) == 5
        np.testing.assert_allclose(ranked.scores[row], np.sort(scores)[:1:-1])
        order = np.argsort(scores)[:1:-1]
        np.testing.assert_array_equal(ranked.images[row], drawn["images"][row][order])
        np.testing.assert_array_equal(ranked.seeds[row], [7, 20][row] + order)


def test_the_default_is_a_mode_of_score():
    assert DEFAULT_RANKER in SCORING_MODES


def test_a_seed_draws_the_picture_again(task):
    ranked = best_of(task, "the sun", 4, 2)
    assert ranked.images.shape == (2, 8, 8, 3) and ranked.scores.shape == (2,)
    for image, seed in zip(ranked.images, ranked.seeds, strict=True):
        np.testing.assert_array_equal(task.generate("the sun", seed=int(seed)), image)


def test_negative_prompts_and_parameters_are_those_of_generate(task):
    inputs = {"prompts": PROMPTS, "negative_prompts": ["a dog", "x"]}
    parameters = {"guidance_scale": [3.0, 5.0], "top_k": 5, "seed": 1}
    ranked = best_of(task, inputs, 3, 1, brightness, **parameters)
    images = task.generate(inputs, num_images=3, **parameters)
    brightest = images.mean(axis=(2, 3, 4)).argmax(axis=1)
    np.testing.assert_array_equal(ranked.images[:, 0], images[[0, 1], brightest])


def test_a_ranker_sees_prompts_pictures_and_tokens(task):
    seen = {}

    def ranker(prompts, images, image_tokens):
        seen.update(prompts=list(prompts), images=images, tokens=image_tokens)
        return np.arange(len(images))

    ranked = best_of(task, PROMPTS, 3, 3, ranker, seed=0)
    assert seen["prompts"] == [PROMPTS[0]] * 3 + [PROMPTS[1]] * 3
    np.testing.assert_array_equal(ranked.scores, [[2, 1, 0], [5, 4, 3]])
    np.testing.assert_array_equal(ranked.seeds, [[2, 1, 0]] * 2)
    np.testing.assert_array_equal(
        task.vqgan.decode_images(seen["tokens"][:1])[0], seen["images"][0]
    )


def test_of_equal_scores_the_first_and_nan_last():
    scores = np.array([[1.0, 2.0, np.nan, 2.0, -np.inf], [0.0] * 5])
    np.testing.assert_array_equal(
        best_first(scores), [[1, 3, 0, 4, 2], [0, 1, 2, 3, 4]]
    )


@pytest.mark.parametrize("inputs", ["a cat", ["a cat"]])
def test_one_of_one(task, inputs):
    ranked = best_of(task, inputs, 1, 1, seed=3)
    expected = task.generate("a cat", seed=3)
    np.testing.assert_array_equal(ranked.images.reshape(8, 8, 3), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep": 5}, r"`keep` \(=5\) must be at most `num_images` \(=4\)"),
        ({"keep": 0}, "`keep` must be an integer of at least 1"),
        ({"keep": "2"}, "`keep` must be an integer .* '2'"),
        ({"seed": [False]}, "`seed` must be an integer, .* False"),
        ({"keep": 1, "num_images": 0}, "`num_images` must be an integer of at least 1"),
        ({"ranker": None}, "log_likelihood, pmi, or a function. .* None"),
        ({"ranker": "beauty"}, "log_likelihood, pmi, or a function. .* 'beauty'"),
        ({"ranker": lambda *_: np.zeros(3)}, r"one score a picture, \[4\]. .* \[3\]"),
        ({"temperature": -1.0}, "`temperature` must be"),
    ],
)
def test_unusable_arguments(task, arguments, message):
    with pytest.raises(ValueError, match=message):
        best_of(task, "a cat", **{"num_images": 4, "keep": 2, **arguments})
