"""Beam search against all sequences, and greedy drawing against the likeliest."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.generation.beam_search import beam_search, search_image_tokens
from keras_dalle.generation.scoring import token_log_likelihoods
from tests.generation.small_backbone import small_backbone
from tests.tiny_preset import tiny_task

CODES = 3
LENGTH = 4
PROMPTS = ["a cat", "the sun", ""]


@pytest.fixture(scope="module")
def task():
    return tiny_task()


@pytest.fixture(scope="module")
def backbone():
    """One whose 81 sequences can all be scored."""
    return small_backbone(CODES + 2, vocabulary_size=20, image_length=LENGTH)


@pytest.fixture(scope="module")
def text():
    token_ids = np.random.default_rng(0).integers(3, 20, (2, 16)).astype("int32")
    return tf.constant(token_ids), tf.ones([2, 16], tf.int32)


def search(backbone, text, num_beams):
    return search_image_tokens(
        backbone, *text, num_beams=num_beams, codebook_size=CODES
    )


def likelihoods(backbone, text, row, tokens_NT):
    """Of several sequences for one prompt, all positions at once, without cache."""
    repeated = (tf.repeat(x[row : row + 1], len(tokens_NT), axis=0) for x in text)
    per_token_NT = token_log_likelihoods(
        backbone, *repeated, tf.constant(tokens_NT, tf.int32), codebook_size=CODES
    )
    return per_token_NT.numpy().sum(axis=1)


def test_enough_beams_find_all_sequences_in_order(backbone, text):
    every_NT = np.array(list(itertools.product(range(CODES), repeat=LENGTH)))
    one = tuple(x[:1] for x in text)
    tokens_BKT, found_BK = search(backbone, one, len(every_NT))
    expected_N = likelihoods(backbone, text, 0, every_NT)
    order_N = np.argsort(-expected_N)
    assert np.diff(np.sort(expected_N)).min() > 1e-5  # No ties: the order is one.
    np.testing.assert_array_equal(tokens_BKT[0], every_NT[order_N])
    np.testing.assert_allclose(found_BK[0], expected_N[order_N], atol=1e-4)
    assert np.exp(found_BK[0]).sum() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("num_beams", [1, 2, 5])
def test_beams_are_those_of_a_search_without_cache(backbone, text, num_beams):
    tokens_BKT, found_BK = search(backbone, text, num_beams)
    for row in range(2):
        beams_KT = np.zeros((1, 0), int)
        for position in range(LENGTH):
            longer_NT = np.array(
                [[*beam, code] for beam in beams_KT for code in range(CODES)]
            )
            # What follows has no part in the tokens before it.
            padded_NT = np.pad(longer_NT, [(0, 0), (0, LENGTH - position - 1)])
            repeated = (tf.repeat(x[row : row + 1], len(padded_NT), 0) for x in text)
            per_token_NT = token_log_likelihoods(
                backbone, *repeated, tf.constant(padded_NT, tf.int32), codebook_size=3
            ).numpy()
            total_N = per_token_NT[:, : position + 1].sum(axis=1)
            beams_KT = longer_NT[np.argsort(-total_N)[:num_beams]]
        np.testing.assert_array_equal(tokens_BKT[row], beams_KT)
        expected = likelihoods(backbone, text, row, beams_KT)
        np.testing.assert_allclose(found_BK[row], expected, atol=1e-4)


def test_beams_without_a_sequence_are_marked(backbone, text):
    _, found_BK = search(backbone, tuple(x[:1] for x in text), 96)
    assert np.isfinite(found_BK[0, :81]).all() and np.isneginf(found_BK[0, 81:]).all()


def test_likelihoods_are_those_of_score(task):
    found = beam_search(task, PROMPTS, num_beams=4)
    assert found.images.shape == (3, 8, 8, 3) and found.image_tokens.shape == (3, 16)
    inputs = {"prompts": PROMPTS, "image_tokens": found.image_tokens}
    np.testing.assert_allclose(found.log_likelihoods, task.score(inputs), atol=1e-3)
    np.testing.assert_array_equal(found.images, task.decode_tokens(found.image_tokens))


def test_a_result_depends_on_its_prompt_alone(backbone, text):
    # With the bits of likelihoods, which a lucky order of tokens could not show.
    order = [0, 1, 1] * 7
    many = tuple(tf.gather(x, order) for x in text)
    tokens_BKT, found_BK = search(backbone, many, 4)
    for row in (0, 1, 20):
        alone = search(backbone, tuple(x[row : row + 1] for x in many), 4)
        np.testing.assert_array_equal(tokens_BKT[row], alone[0][0])
        np.testing.assert_array_equal(found_BK[row], alone[1][0])


def test_more_prompts_than_one_search_holds(task):
    together = beam_search(task, PROMPTS * 11, num_beams=4, return_all_beams=True)
    assert together.images.shape == (33, 4, 8, 8, 3)
    alone = beam_search(task, PROMPTS[1], num_beams=4)
    np.testing.assert_array_equal(together.images[31, 0], alone.images)


def test_one_beam_is_greedy_drawing(task):
    greedy = task.generate(
        PROMPTS, top_k=1, guidance_scale=1.0, temperature=3.0, return_tokens=True
    )
    found = beam_search(task, PROMPTS, num_beams=1)
    np.testing.assert_array_equal(found.image_tokens, greedy["image_tokens"])


def test_greedy_drawing_takes_the_likeliest_token_each_time(task):
    # Not the same as the test above: another code without cache, and the seed differs.
    tokens_BT = task.generate(
        PROMPTS, top_k=1, guidance_scale=1.0, seed=[1, 2, 3], return_tokens=True
    )["image_tokens"]
    text = task.preprocessor.generate_preprocess(tf.constant(PROMPTS))
    start_B1 = np.full((3, 1), task.backbone.decoder_start_token_id)
    seen_BT = tf.constant(np.hstack([start_B1, tokens_BT[:, :-1]]), tf.int32)
    logits_BTV = task.backbone({**text, "decoder_token_ids": seen_BT})[
        "logits"
    ].numpy()[..., : task.vqgan.codebook_size]
    np.testing.assert_array_equal(logits_BTV.argmax(axis=-1), tokens_BT)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_beams": 0}, "`num_beams` must be an integer of at least 1. .* 0"),
        ({"num_beams": 97}, "`num_beams` must be at most 96. Received: 97"),
        ({"num_beams": 2.5}, "`num_beams` must be an integer .* 2.5"),
        ({"inputs": ["x", 7]}, "`prompts` must be a text, .* 7"),
        ({"inputs": "x AND y:0"}, "without weighted parts"),
        ({"inputs": {"prompts": "x", "negative_prompts": "y"}}, "no guidance"),
        ({"inputs": ["x", "x AND y"]}, "without weighted parts"),
    ],
)
def test_faults_are_named(task, arguments, message):
    with pytest.raises(ValueError, match=message):
        beam_search(task, **{"inputs": "a cat", **arguments})


def test_no_prompts(task):
    assert beam_search(task, []).images.shape == (0, 8, 8, 3)
