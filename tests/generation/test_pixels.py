"""Pictures in the forms that people have them in."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_dalle.generation.pixels import rgb, rgb_pictures

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (5, 7, 3)).astype(np.uint8)
GREY = RGB[..., 0]


def test_each_form_of_a_picture_is_the_same_rgb():
    opaque = np.full((5, 7, 1), 255, np.uint8)
    greys = np.repeat(GREY[..., None], 3, axis=2)
    for form, expected in (
        (RGB, RGB),
        (RGB.astype("float32") / 255, RGB),
        (RGB.astype("float64") / 255, RGB),
        (tf.constant(RGB), RGB),
        (np.concatenate([RGB, opaque], axis=2), RGB),
        (GREY, greys),
        (GREY[..., None], greys),
        (np.stack([GREY, opaque[..., 0]], axis=2), greys),
        (Image.fromarray(RGB), RGB),
        (Image.fromarray(GREY), greys),
    ):
        ours = rgb(form)
        assert ours.dtype == np.uint8
        np.testing.assert_array_equal(ours, expected)


def test_transparency_is_on_white():
    pixels = np.array([[[200, 0, 100, 0], [200, 0, 100, 51], [9, 9, 9, 255]]], np.uint8)
    expected = [[[255] * 3, [244, 204, 224], [9, 9, 9]]]
    np.testing.assert_array_equal(rgb(pixels), expected)
    np.testing.assert_array_equal(rgb(Image.fromarray(pixels)), expected)


def test_a_pillow_image_is_turned_as_its_exif_says():
    image = Image.fromarray(RGB)
    image.getexif()[0x0112] = 6  # Orientation: a quarter turn clockwise.
    np.testing.assert_array_equal(rgb(image), np.rot90(RGB, -1))


def test_palettes_keep_their_colours():
    image = Image.new("RGB", (2, 2), "red").convert("P")
    assert rgb(image).tolist() == [[[255, 0, 0]] * 2] * 2


def test_one_picture_and_batches():
    assert rgb_pictures(RGB)[1] and rgb_pictures(GREY[:, :3])[1]
    assert rgb_pictures(Image.fromarray(RGB))[1]
    for batch in ([RGB, GREY], (RGB, RGB), np.stack([RGB, RGB]), np.stack([GREY] * 2)):
        pictures, is_one = rgb_pictures(batch)
        assert not is_one and [x.shape for x in pictures] == [(5, 7, 3)] * 2
    assert rgb_pictures([]) == ([], False)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 7, 9, 9)), r"must be \[H, W\].* Received: \[3, 7, 9, 9\]"),
        (np.zeros((3, 8, 9), np.uint8), r"Received: \[3, 8, 9\]. Move the channels"),
        (np.zeros((0, 8, 3), np.uint8), r"Received: \[0, 8, 3\]"),
        (np.zeros((8, 8, 3), np.int64), "must be uint8, or float .* Received: int64"),
        (RGB.astype("float32"), "must be from 0 to 1. Received: .* to 2.*Scale it"),
        (RGB / 127.5 - 1, "must be from 0 to 1. Received: -"),
        (np.full((2, 2, 3), np.nan), "must be from 0 to 1. Received: nan"),
        (Image.fromarray(np.zeros((2, 2), np.uint16)), "Received: uint16"),
        ("cat.png", "must be an array or a Pillow image. Received: 'cat.png'"),
        (None, "must be an array .* None"),
    ],
)
def test_faults_are_named(image, message):
    with pytest.raises(ValueError, match=message):
        rgb(image)
