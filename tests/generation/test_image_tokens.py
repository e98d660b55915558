"""Pictures to image tokens and back."""

import numpy as np
import pytest

from keras_dalle.generation.given_images import square
from keras_dalle.models import DalleBartTextToImage
from tests.tiny_preset import tiny_task

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def task():
    return tiny_task()


def test_tokens_are_those_of_the_middle_square(task):
    image = RNG.integers(0, 256, (20, 31, 3)).astype(np.uint8)
    tokens = task.encode_images(image)
    assert tokens.shape == (16,) and tokens.dtype == np.int32
    expected = task.vqgan.encode_images(square(image, 8)[None])
    np.testing.assert_array_equal(tokens[None], expected)


def test_a_pictures_tokens_are_the_same_in_any_batch(task):
    images = [
        RNG.integers(0, 256, (8 + i, 9, 3)).astype(np.uint8) / np.float32(255)
        for i in range(5)
    ]
    together = task.encode_images(images)
    assert together.shape == (5, 16)
    for image, tokens in zip(images, together, strict=True):
        np.testing.assert_array_equal(task.encode_images(image), tokens)
    assert task.encode_images([]).shape == (0, 16)


def test_tokens_of_a_drawn_picture_are_decoded_to_it(task):
    drawn = task.generate(["a cat", "a dog"], seed=3, return_tokens=True)
    tokens_BT = drawn["image_tokens"]
    np.testing.assert_array_equal(task.decode_tokens(tokens_BT), drawn["images"])
    one = task.decode_tokens(tokens_BT[1].tolist())
    np.testing.assert_array_equal(one, drawn["images"][1])
    assert task.decode_tokens(tokens_BT[:0]).shape == (0, 8, 8, 3)


def test_faults_are_named(task):
    with pytest.raises(ValueError, match=r"in \[0, 32\). Received: 0 to 32"):
        task.decode_tokens([0] * 15 + [32])
    with pytest.raises(ValueError, match=r"integers \[B, 16\]. Received: .*\(1, 15\)"):
        task.decode_tokens([0] * 15)
    with pytest.raises(ValueError, match=r"integers \[B, 16\]"):
        task.decode_tokens([[0] * 16, [0]])
    with pytest.raises(ValueError, match="`image` must be uint8, or float"):
        task.encode_images(np.zeros((8, 8, 3), int))
    blind = DalleBartTextToImage(task.backbone, task.preprocessor)
    for method in (blind.encode_images, blind.decode_tokens):
        with pytest.raises(ValueError, match="needs a VQGAN"):
            method(np.zeros((8, 8, 3), np.uint8))
