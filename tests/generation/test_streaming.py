"""Pictures that are shown while they are drawn."""

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.commands.preset_names import load_task
from keras_dalle.generation.streaming import continued
from tests.tiny_preset import tiny_task


@pytest.fixture(scope="module")
def task():
    return tiny_task()


def test_what_is_missing_continues_the_row_above():
    tokens = tf.reshape(tf.range(2 * 9), [2, 9])
    ours = continued(tokens, tf.constant([5, 1])).numpy()
    assert ours[0].tolist() == [0, 1, 2, 3, 4, 2, 3, 4, 2]
    assert ours[1].tolist() == [9] * 9
    whole = continued(tokens, tf.constant([9, 9]))
    np.testing.assert_array_equal(whole, tokens)


@pytest.mark.parametrize("every", [None, 1, 7, 1000])
def test_the_last_pictures_are_those_of_generate(task, every):
    prompts = ["a cat", "a dog", "a cat"]
    parameters = {"seed": [1, 2, 3], "guidance_scale": 3.0, "temperature": [1, 2, 0.5]}
    expected = task.generate(prompts, **parameters)
    pictures = list(task.generate_stream(prompts, every=every, **parameters))
    length = task.backbone.image_length
    assert len(pictures) == -(-length // (every or length // 4))
    assert all(images.shape == expected.shape for images in pictures)
    np.testing.assert_array_equal(pictures[-1], expected)


def test_every_pixel_of_a_trained_model_is_that_of_generate():
    # Where TensorFlow fused other operations in the stream's graph, 11 of 32 pictures
    # had a pixel that was off by 1.
    emoji = load_task("emoji_tiny")
    prompts, seeds = ["red heart", "cat face", "rainbow", "sun"] * 8, list(range(32))
    *_, last = emoji.generate_stream(prompts, seed=seeds)
    np.testing.assert_array_equal(last, emoji.generate(prompts, seed=seeds))


def test_one_prompt_has_no_batch(task):
    *_, last = task.generate_stream("a cat", seed=4)
    np.testing.assert_array_equal(last, task.generate("a cat", seed=4))


def test_a_stream_completes_a_picture(task):
    size = task.vqgan.image_size
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
    mask = np.arange(size)[:, None] * np.ones(size) >= size // 2
    given = {"image": image, "mask": mask, "seed": 4}
    *_, last = task.generate_stream("a cat", **given)
    np.testing.assert_array_equal(last, task.generate("a cat", **given))


def test_faults_are_named(task):
    for arguments, message in (
        ({"every": 0}, "`every` must be an integer of at least 1"),
        ({"temprature": 1.0}, "no parameter temprature"),
        ({"temperature": 0.0}, "`temperature` must be"),
    ):
        with pytest.raises(ValueError, match=message):
            list(task.generate_stream("a cat", **arguments))
    with pytest.raises(ValueError, match="At most 48 pictures"):
        list(task.generate_stream(["a cat"] * 49))
