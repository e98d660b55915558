"""Pictures of any size, of which a part is drawn anew."""

import numpy as np
import pytest
from PIL import Image

from keras_dalle.generation.given_images import open_tokens, square
from tests.tiny_preset import tiny_task

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def task():
    return tiny_task()


def test_the_middle_square_is_taken():
    image = np.zeros((4, 10, 3), np.uint8)
    image[:, 3:7] = RNG.integers(0, 256, (4, 4, 3))
    np.testing.assert_array_equal(square(image, 4), image[:, 3:7])
    assert (square(np.full((50, 30, 3), 7, np.uint8), 8) == 7).all()


def test_a_token_is_drawn_if_one_of_its_pixels_is_masked():
    mask = np.zeros((8, 8), bool)
    mask[3, 4] = True
    expected = np.zeros((2, 2), bool)
    expected[0, 1] = True
    np.testing.assert_array_equal(open_tokens(mask, 2), expected.reshape(-1))
    # One pixel of a large mask is not lost when it is made small.
    large = np.zeros((800, 1200), np.uint8)
    large[-1, -201] = 1
    assert open_tokens(large, 2).tolist() == [False, False, False, True]


def test_what_is_outside_the_mask_stays(task):
    size = task.vqgan.image_size
    image = RNG.integers(0, 256, (size, size, 3)).astype(np.uint8)
    lower = np.arange(size)[:, None] >= size // 2
    mask = np.broadcast_to(lower, (size, size))
    drawn = task.generate(
        ["a cat", "a dog"], seed=3, image=image, mask=mask, return_tokens=True
    )
    tokens = np.asarray(task.vqgan.encode_images(image[None]))[0]
    stays = ~open_tokens(mask, int(task.backbone.image_length**0.5))
    assert stays.any() and not stays.all()
    np.testing.assert_array_equal(
        drawn["image_tokens"][:, stays], np.stack([tokens[stays]] * 2)
    )
    free = task.generate(["a cat", "a dog"], seed=3, return_tokens=True)
    assert (drawn["image_tokens"] != free["image_tokens"]).any()


def test_a_mask_of_all_draws_what_no_image_draws(task):
    size = task.vqgan.image_size
    image = np.zeros((size + 5, size, 3), np.uint8)
    mask = np.ones((size + 5, size))
    np.testing.assert_array_equal(
        task.generate("a cat", seed=1, image=image, mask=mask),
        task.generate("a cat", seed=1),
    )


def test_one_image_a_prompt_is_as_each_alone(task):
    size = task.vqgan.image_size
    images = RNG.integers(0, 256, (2, size, size, 3)).astype(np.uint8)
    masks = RNG.random((2, size, size)) < 0.02
    together = task.generate(["x", "y"], seed=5, image=images, mask=masks)
    for row, prompt in enumerate(["x", "y"]):
        alone = task.generate(prompt, seed=5, image=images[row], mask=masks[row])
        np.testing.assert_array_equal(together[row], alone)


def test_a_mask_may_have_one_channel(task):
    image = RNG.integers(0, 256, (10, 14, 3)).astype(np.uint8)
    mask = RNG.random((10, 14)) < 0.1
    expected = task.generate(["x", "y"], seed=2, image=image, mask=mask)
    for given in (
        mask[..., None],
        np.stack([mask, mask])[..., None],
        [mask[..., None], mask.astype(np.uint8) * 255],
        mask.tolist(),
        Image.fromarray(mask),
    ):
        drawn = task.generate(["x", "y"], seed=2, image=image, mask=given)
        np.testing.assert_array_equal(drawn, expected)


def test_pictures_of_several_sizes_are_as_each_alone(task):
    sizes = [(9, 12), (20, 8)]
    images = [RNG.integers(0, 256, (*size, 3)).astype(np.uint8) for size in sizes]
    masks = [np.arange(size[0])[:, None] * np.ones(size) >= 5 for size in sizes]
    together = task.generate(["x", "y"], seed=5, image=images, mask=masks)
    for row, prompt in enumerate(["x", "y"]):
        alone = task.generate(prompt, seed=5, image=images[row], mask=masks[row])
        np.testing.assert_array_equal(together[row], alone)


def test_image_tokens_stand_for_image_and_mask(task):
    size = task.vqgan.image_size
    image = RNG.integers(0, 256, (size, size, 3)).astype(np.uint8)
    mask = np.arange(size)[:, None] * np.ones(size) >= size // 2
    expected = task.generate(["x", "y"], seed=5, image=image, mask=mask)
    tokens = np.asarray(task.vqgan.encode_images(image[None]))[0]
    tokens = np.where(open_tokens(mask, int(len(tokens) ** 0.5)), -1, tokens)
    for given in (tokens, [tokens.tolist()] * 2):
        drawn = task.generate(["x", "y"], seed=5, image=given)
        np.testing.assert_array_equal(drawn, expected)
    free = np.full_like(tokens, -1)
    drawn = task.generate(["x", "y"], seed=5, image=[tokens, free])
    np.testing.assert_array_equal(drawn[0], expected[0])
    np.testing.assert_array_equal(drawn[1], task.generate("y", seed=5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": np.zeros((8, 8, 3), np.uint8)}, "need each other"),
        ({"mask": np.zeros((8, 8))}, "need each other"),
        (
            {"image": np.zeros((8, 8, 3), int), "mask": np.zeros((8, 8))},
            "`image` must be uint8, or float from 0 to 1. Received: int64",
        ),
        (
            {"image": np.zeros((8, 8, 3), np.uint8), "mask": [np.zeros((8, 8))] * 3},
            "`mask` must be one for all, or one a picture",
        ),
        (
            {"image": np.zeros((8, 8, 3), np.uint8), "mask": np.zeros((0, 8))},
            r"`mask` must be numbers \[H, W\]",
        ),
        (
            {"image": np.zeros((8, 9, 3), np.uint8), "mask": np.zeros((9, 8))},
            r"image's height and width. Received: \[9, 8\] for an image of \[8, 9\]",
        ),
        (
            {"image": [np.zeros((8, 8)), np.zeros((6, 6))], "mask": np.zeros((8, 8))},
            r"Received: \[8, 8\] for an image of \[6, 6\]",
        ),
        (
            {"image": np.zeros((8, 8)), "mask": [np.zeros((8, 8, 3))] * 2},
            r"`mask` must be numbers \[H, W\], .* float64 \[8, 8, 3\]",
        ),
        (
            {"image": np.zeros((8, 8)), "mask": Image.new("RGB", (8, 8))},
            r"`mask` must be numbers \[H, W\], .* uint8 \[8, 8, 3\]",
        ),
        ({"image": np.zeros((8, 8)), "mask": [[1, 2], [3]]}, "`mask` must be numbers"),
        ({"image": np.zeros((8, 8)), "mask": np.ones(8)}, r"float64 \[8\]"),
        (
            {"image": np.zeros((8, 8)), "mask": np.full((8, 8), np.nan)},
            "Received: NaN among them",
        ),
        ({"image": "cat.png"}, "Received: 'cat.png'. `PIL.Image.open` reads a file"),
        ({"image": ["a.png", "b.png"], "mask": np.zeros((8, 8))}, "`PIL.Image.open`"),
        ({"image": np.zeros((8, 8)), "mask": True}, "`mask` must be an array .* True"),
        ({"image": 7, "keep_fraction": 0.5}, "`image` must be an array .* 7"),
        ({"keep_fraction": 0.5}, "Received only `keep_fraction`"),
        ({"image": [0] * 16, "keep_fraction": 0.5}, "Leave these out"),
        (
            {"image": np.zeros((8, 8, 3)), "keep_fraction": "0.5"},
            "`keep_fraction` must be a number, .* '0.5'",
        ),
        (
            {"image": np.zeros((8, 8, 3)), "keep_fraction": [0.5, float("nan")]},
            "`keep_fraction` must be from 0 to 1",
        ),
        ({"image": [0] * 15}, r"must be int \[16\], or one such a picture"),
        ({"image": [[0] * 16, [0] * 15]}, r"must be int \[16\].* int64 \[15\]"),
        ({"image": np.zeros(16)}, r"must be int \[16\].*float64"),
        ({"image": [[0] * 16] * 3}, "one for all, or one a picture"),
        ({"image": [32] * 16}, "-1, where to draw, or from 0 to 31. Received: 32"),
        ({"image": [-2] * 16}, "-1, where to draw, or from 0 to 31. Received: -2"),
    ],
)
def test_faults_are_named(task, arguments, message):
    with pytest.raises(ValueError, match=message):
        task.generate(["a", "b"], seed=0, **arguments)
