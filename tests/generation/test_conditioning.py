"""What leads the decoder: several prompts with weights, and scales that change."""

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.generation.conditioning import (
    Prompts,
    encode_prompts,
    guide,
    repeat_for_prompts,
)
from keras_dalle.generation.decoding import _guidance_scale
from tests.tiny_preset import tiny_task

RNG = np.random.default_rng(0)


def test_guidance_by_several_prompts_is_the_weighted_sum():
    # R = 3 rows a picture: two prompts and the negative one.
    logits_CBWV = RNG.standard_normal((3, 2, 4, 7)).astype("float32")
    weights_BC = np.array([[1.2, -0.5], [1.0, 0.0]], "float32")
    scale_BW = RNG.uniform(1, 10, (2, 4)).astype("float32")
    ours = guide(logits_CBWV.reshape(6, 4, 7), weights_BC, scale_BW).numpy()
    first, second, negative = logits_CBWV
    for row in range(2):
        change = weights_BC[row, 0] * (first[row] - negative[row])
        change += weights_BC[row, 1] * (second[row] - negative[row])
        expected = negative[row] + scale_BW[row][:, None] * change
        np.testing.assert_allclose(ours[row], expected, rtol=1e-5, atol=1e-5)


def test_a_prompt_of_weight_0_changes_no_bit():
    logits_CBWV = RNG.standard_normal((3, 1, 4, 50)).astype("float32")
    scale_BW = np.full((1, 4), 7.3, "float32")
    with_it = guide(logits_CBWV.reshape(3, 4, 50), [[1.0, 0.0]], scale_BW)
    alone = guide(logits_CBWV[[0, 2]].reshape(2, 4, 50), [[1.0]], scale_BW)
    np.testing.assert_array_equal(with_it, alone)


def test_the_scale_goes_along_a_line():
    parameters = {
        "guidance_scale": tf.constant([10.0, 4.0, 3.3]),
        "guidance_scale_end": tf.constant([2.0, -1.0, 3.3]),
    }
    positions_BW = tf.tile(tf.constant([[0, 4, 8]]), [3, 1])
    scale_BW = _guidance_scale(parameters, positions_BW, 9).numpy()
    np.testing.assert_allclose(scale_BW[0], [10, 6, 2], rtol=1e-6)
    np.testing.assert_array_equal(scale_BW[1:], np.float32([[4.0] * 3, [3.3] * 3]))


def test_rows_of_the_decoder_are_by_prompt():
    repeated = repeat_for_prompts(tf.constant([[1], [2]]), tf.ones([2, 2])).numpy()
    assert repeated[:, 0].tolist() == [1, 2, 1, 2, 1, 2]


@pytest.mark.parametrize("order", [[0, 1, 0], [1, 1, 1], [2, 0, 1]])
def test_a_text_is_read_as_if_it_were_alone(order):
    task = tiny_task()
    prompts = tf.gather(tf.constant(["a cat", "a dog", ""]), order)
    text = task.preprocessor.generate_preprocess(prompts)
    blank = task.preprocessor.negative_preprocess(tf.fill([3], ""))
    arguments = [x for part in (text, blank) for x in part.values()]
    together = encode_prompts(task.backbone, Prompts.of_one_each(*arguments))
    for row in range(3):
        one = [x[row : row + 1] for x in arguments]
        alone = encode_prompts(task.backbone, Prompts.of_one_each(*one))
        for ours, expected in zip(together.cross_cache, alone.cross_cache, strict=True):
            for x, y in zip(ours, expected, strict=True):
                np.testing.assert_array_equal(x[row], y[0])
                np.testing.assert_array_equal(x[row + 3], y[1])
