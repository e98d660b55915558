"""The forms in which prompts are given to `generate`."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tiny_preset import tiny_task

PROMPTS = ["a tree", "two boats", "a green door"]
SETTINGS = {"seed": 4, "guidance_scale": 3.0, "return_tokens": True}


@pytest.fixture(scope="module")
def task():
    return tiny_task()


@pytest.fixture
def without_preprocessor(task):
    """The task and what its preprocessor made of the prompts."""
    preprocessor = task.preprocessor
    task.preprocessor = None
    yield task, preprocessor.generate_preprocess
    task.preprocessor = preprocessor


def draw(task, inputs, **settings):
    return task.generate(inputs, **{**SETTINGS, **settings})["image_tokens"]


@pytest.fixture(scope="module")
def expected(task):
    return draw(task, PROMPTS)


def datasets():
    dataset = tf.data.Dataset.from_tensor_slices(PROMPTS)
    named = tf.data.Dataset.from_tensor_slices({"prompts": PROMPTS})
    return {
        "unbatched": dataset,
        "batches": dataset.batch(2),
        "of unknown length": dataset.filter(lambda x: True).batch(2),
        "of dictionaries": named,
        "with negative prompts": named.map(
            lambda x: {**x, "negative_prompts": ""}
        ).batch(2),
    }


@pytest.mark.parametrize("kind", datasets())
def test_datasets(task, expected, kind):
    np.testing.assert_array_equal(draw(task, datasets()[kind]), expected)


@pytest.mark.parametrize(
    "prompts",
    [tuple(PROMPTS), np.array(PROMPTS), tf.constant(PROMPTS)],
    ids=["tuple", "array", "tensor"],
)
def test_lists_arrays_and_tensors(task, expected, prompts):
    np.testing.assert_array_equal(draw(task, prompts), expected)
    np.testing.assert_array_equal(draw(task, prompts[0]), expected[0])


def test_each_row_of_a_dataset_has_its_own_settings(task, expected):
    dataset = datasets()["batches"]
    settings = {"seed": [4, 5, 4], "num_images": 2}
    together = draw(task, dataset, **settings)
    assert together.shape == (3, 2, 16)
    np.testing.assert_array_equal(together[[0, 2], 0], expected[[0, 2]])
    empty = tf.data.Dataset.from_tensor_slices(tf.zeros([0], tf.string))
    assert draw(task, empty).shape == (0, 16)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (5, "`prompts` must be a text, or a list of texts. Received: 5"),
        (None, "`prompts` must be a text, .* Received: None"),
        (["x", float("nan")], "`prompts` must be a text, .* nan"),
        ({"prompts": ["x"], "negative_prompts": [3]}, "`negative_prompts` must be"),
        ({"prompts": ["x"], "negative_prompts": ["y"] * 2}, r"one per prompt \(=1\)"),
        ({"prompt": "x"}, "a dictionary with `prompts` .* Received: .'prompt'"),
        (tf.data.Dataset.from_tensors("x").repeat(), "a dataset that ends"),
        (tf.data.Dataset.from_tensors(("x", 1)), "tuples of 2. .*lambda x, y: x"),
        (tf.data.Dataset.from_tensors([["x"]]), r"an array of shape \[1, 1\]"),
        (tf.data.Dataset.range(3), "`prompts` must be a text, .* 0"),
    ],
)
def test_what_cannot_be_drawn(task, inputs, message):
    with pytest.raises(ValueError, match=message):
        task.generate(inputs)


# === Token ids ===


def test_token_ids_draw_what_their_texts_do(without_preprocessor, expected):
    task, preprocess = without_preprocessor
    given = preprocess(PROMPTS)
    ids = given["encoder_token_ids"]
    for inputs in (
        given,
        {"prompts": given},
        ids.numpy(),
        ids[:, :12],
        tf.data.Dataset.from_tensor_slices(given),
        tf.data.Dataset.from_tensor_slices(given).batch(2),
    ):
        np.testing.assert_array_equal(draw(task, inputs), expected)
    one = {name: x[1] for name, x in given.items()}
    np.testing.assert_array_equal(draw(task, one), expected[1])


def test_negative_token_ids(task):
    texts = {"prompts": PROMPTS, "negative_prompts": "a wall"}
    expected = draw(task, texts, num_images=2)
    preprocessor, task.preprocessor = task.preprocessor, None
    try:
        ids = {k: preprocessor.generate_preprocess(x) for k, x in texts.items()}
        np.testing.assert_array_equal(draw(task, ids, num_images=2), expected)
    finally:
        task.preprocessor = preprocessor
    np.testing.assert_array_equal(draw(task, texts, num_images=2), expected)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("a tree", "`prompts` must be token ids, .* Received: 'a tree'. Give what"),
        ([[0, 5, 2], [0, 2]], "must be token ids"),
        (np.zeros((2, 17), int), r"S at most 16. Received: int64 \[2, 17\]"),
        (np.zeros((2, 16)), "float64"),
        ([[0, -5, 2]], "must be from 0 to .* Received: -5 to 2"),
        ([[0, 10**6, 2]], "must be from 0 to .* 1000000"),
        ({"encoder_token_ids": [0, 2], "encoder_padding_mask": [1]}, "of the shape"),
        ({"encoder_token_ids": [0, 2], "encoder_padding_mask": [1, 3]}, "else 0"),
        ({"encoder_token_ids": [0, 2], "encoder_padding_mask": [0, 0]}, "a real token"),
        ({"encoder_token_ids": [0, 2], "image_tokens": [0]}, "'image_tokens'"),
        ({"token_ids": [0, 2]}, "'token_ids'"),
        (
            {"prompts": [[0, 2]] * 3, "negative_prompts": [[0, 2]] * 2},
            r"one per prompt \(=3\). Received: 2",
        ),
    ],
)
def test_what_are_no_token_ids(without_preprocessor, inputs, message):
    with pytest.raises(ValueError, match=message):
        without_preprocessor[0].generate(inputs)


def test_what_needs_a_preprocessor_says_so(without_preprocessor):
    task, _ = without_preprocessor
    for call in (
        lambda: task.generate([0, 2], passes=2),
        lambda: next(task.generate_stream([0, 2])),
        lambda: task.score({"prompts": "x", "image_tokens": [[0] * 16]}),
    ):
        with pytest.raises(ValueError, match="needs a preprocessor"):
            call()


def test_another_text_length_is_another_graph(task, expected):
    prompt = "two boats and a green door in a long wall of white stone"
    whole = draw(task, prompt)
    task.preprocessor.max_text_length = 5
    try:
        cut = draw(task, prompt)
        function = task.make_generate_function()
        assert not np.array_equal(cut, whole)
        task.preprocessor.max_text_length = 17
        with pytest.raises(ValueError, match=r"\(=17\) must be at most .* \(=16\)"):
            task.generate(prompt)
    finally:
        task.preprocessor.max_text_length = 16
    assert task.make_generate_function() is not function
