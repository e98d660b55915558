"""Prompts of several parts with weights: how they are read, and what they draw."""

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.generation.weighted_prompts import (
    MAX_PARTS,
    prompt_faults,
    weighted_parts,
)
from tests.tiny_preset import tiny_task

# Sharp guidance, so that another prompt is another picture.
SETTINGS = {"guidance_scale": 3.0, "top_k": 0, "return_tokens": True}


@pytest.fixture(scope="module")
def task():
    return tiny_task()


def read(prompt):
    """The parts of one prompt, as pairs of text and weight."""
    texts_BC, weights_BC = weighted_parts(tf.constant([prompt]))
    texts = [text.decode(errors="replace") for text in texts_BC.numpy()[0]]
    return list(zip(texts, weights_BC.numpy()[0].tolist(), strict=True))


def fault(prompt):
    return prompt_faults(tf.constant([prompt])).numpy()[0].decode()


def draw(task, prompts, seed=1):
    return task.generate(prompts, seed=seed, **SETTINGS)["image_tokens"]


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a cat:1.5 AND a dog:0.5", [("a cat", 1.5), ("a dog", 0.5)]),
        ("a cat AND a dog", [("a cat", 1.0), ("a dog", 1.0)]),
        ("a AND b AND c : -.25 ", [("a", 1.0), ("b", 1.0), ("c", -0.25)]),
        ("a:+2. AND\tb:0", [("a:+2. AND\tb:0", 1.0)]),
        ("12:30:1 AND woman: dark skin", [("12:30", 1.0), ("woman: dark skin", 1.0)]),
        ("salt and pepper:2", [("salt and pepper:2", 1.0)]),
        (" a cat:0.5 ", [(" a cat:0.5 ", 1.0)]),
        ("SAND AND", [("SAND AND", 1.0)]),
        ("", [("", 1.0)]),
        (b"\xff\xfe:2 AND sun:3", [("\ufffd\ufffd", 2.0), ("sun", 3.0)]),
        ("心:2 AND ❤️:0.5", [("心", 2.0), ("❤️", 0.5)]),
        # What a backslash makes text.
        (r"bread \AND butter", [("bread AND butter", 1.0)]),
        (r"\AND \AND AND x", [("AND AND", 1.0), ("x", 1.0)]),
        (r"score 3\:2 AND fans", [("score 3:2", 1.0), ("fans", 1.0)]),
        (r"score 3\:2:.5 AND a", [("score 3:2", 0.5), ("a", 1.0)]),
        (r"at 7\:45pm AND tea :2", [("at 7:45pm", 1.0), ("tea", 2.0)]),
        (r"3\:2", [("3:2", 1.0)]),
        (r"C\\: AND \ANDROID", [("C\\:", 1.0), (r"\ANDROID", 1.0)]),
        (r"a\b:2 AND \n", [(r"a\b", 2.0), (r"\n", 1.0)]),
    ],
)
def test_parts(prompt, parts):
    assert read(prompt) == parts
    assert fault(prompt) == ""


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("a cat:1.2.3 AND dog", "must end in a weight below 1000, .* `:1.2.3`"),
        ("a AND dog:1,5", "Received: `:1,5`"),
        ("a AND dog:-1e3", "Received: `:-1e3`"),
        ("a AND dog:1000", "Received: `:1000`"),
        ("a AND at 12:30am", r"`:30am`. .* backslash before the colon: `\\:30am`"),
        ("a AND ", r"text on both sides .* Received: `a AND `. .* write `\\AND`"),
        (" AND ", "Received: ` AND `"),
        (":2 AND a", "text on both sides"),
        (" AND ".join("abcdefghi"), r"at most 8 parts .* Received: 9"),
        ("a AND b:1" + "é" * 1000, "`:1é{38}`"),
    ],
)
def test_faults_are_named(task, prompt, message):
    assert tf.strings.regex_full_match(fault(prompt), f".*{message}.*")
    with pytest.raises(ValueError, match=message):
        task.generate([prompt, "a cat"])
    # What was found faulty is never drawn, but must not raise in a server either.
    assert len(read(prompt)) <= MAX_PARTS


def test_rows_have_as_many_parts_as_the_longest_needs():
    texts_BC, weights_BC = weighted_parts(tf.constant(["a", "b:2 AND c AND d:0.5"]))
    assert texts_BC.numpy().tolist() == [[b"a"] * 3, [b"b", b"c", b"d"]]
    assert weights_BC.numpy().tolist() == [[1, 0, 0], [2, 1, 0.5]]
    assert weighted_parts(tf.constant(["a", "b"])).texts_BC.shape == (2, 1)
    assert weighted_parts(tf.zeros([0], tf.string)).texts_BC.shape == (0, 1)


def test_a_part_of_weight_0_is_as_absent(task):
    plain = draw(task, "a cat")
    np.testing.assert_array_equal(draw(task, "a cat:1 AND the sun:0"), plain)
    np.testing.assert_array_equal(draw(task, "the sun:0 AND a cat"), plain)
    assert (draw(task, "a cat AND the sun") != plain).any()


def test_halves_of_one_prompt_are_the_prompt(task):
    np.testing.assert_array_equal(
        draw(task, "a cat:0.5 AND a cat:0.5"), draw(task, "a cat")
    )
    np.testing.assert_array_equal(
        draw(task, "a cat:0.5 AND a cat:0.25 AND a cat:.25"), draw(task, "a cat")
    )


def test_order_does_not_matter(task):
    np.testing.assert_array_equal(
        draw(task, "a cat:1.2 AND a dog:-0.6"), draw(task, "a dog:-0.6 AND a cat:1.2")
    )


def test_a_weight_multiplies_the_guidance_scale(task):
    twice = task.generate("a cat", seed=1, **{**SETTINGS, "guidance_scale": 6.0})
    np.testing.assert_array_equal(
        draw(task, "a cat:2 AND the sun:0"), twice["image_tokens"]
    )


def test_a_negative_weight_is_a_negative_prompt(task):
    # n + s (p - n) = b + s' ((p - b) w + (n - b) v) with b blank, for these weights.
    away = {"prompts": "a cat", "negative_prompts": "a dog"}
    np.testing.assert_array_equal(
        task.generate(away, seed=1, **SETTINGS)["image_tokens"],
        task.generate(
            "a cat:3 AND a dog:-2", seed=1, **{**SETTINGS, "guidance_scale": 1.0}
        )["image_tokens"],
    )


def test_a_picture_does_not_depend_on_how_many_parts_its_neighbours_have(task):
    prompts = ["a cat", "a dog:0.7 AND the sun", "x AND y AND z:-1 AND w:0.5", ""] * 8
    seeds = list(range(len(prompts)))
    together = draw(task, prompts, seeds)
    for row in (0, 1, 2, 3, 17, 30):
        np.testing.assert_array_equal(
            draw(task, prompts[row], seeds[row]), together[row]
        )
    few = draw(task, prompts[:2], seeds[:2])
    np.testing.assert_array_equal(few, together[:2])


def test_a_stream_ends_with_the_same_picture(task):
    prompts = ["a cat", "a dog:0.7 AND the sun"]
    *_, last = task.generate_stream(prompts, seed=2, guidance_scale=3.0)
    np.testing.assert_array_equal(
        last, task.generate(prompts, seed=2, guidance_scale=3.0)
    )
    with pytest.raises(ValueError, match="At most 96 decoder rows .* Received: 120"):
        list(task.generate_stream(["a"] * 29 + ["a AND b AND c"]))


def test_a_plain_prompt_ends_as_it_likes(task):
    # "salt and pepper:2" is no "salt and pepper" of weight 2.
    ids = task.tokenized_prompts(tf.constant(["pepper:2"]), tf.constant([""]))
    expected = task.preprocessor.generate_preprocess(tf.constant(["pepper:2"]))
    np.testing.assert_array_equal(
        ids.token_ids_BCS[:, 0], expected["encoder_token_ids"]
    )
    assert ids.token_ids_BCS.shape[1] == 1
