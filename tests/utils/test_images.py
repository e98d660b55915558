"""Grids of pictures."""

import numpy as np
import pytest

from keras_dalle.utils.images import image_grid

RED = np.array([200, 0, 0], np.uint8)


def red_pictures(number, size=20):
    return np.broadcast_to(RED, (number, size, size, 3)).copy()


def count_red(grid):
    return int((np.asarray(grid) == RED).all(axis=-1).sum())


@pytest.mark.parametrize(("number", "columns"), [(1, None), (5, None), (5, 2), (3, 9)])
def test_grid_shows_every_picture_whole(number, columns):
    grid = image_grid(red_pictures(number), columns)
    assert count_red(grid) == number * 20 * 20


def test_columns_set_the_shape():
    wide, tall = image_grid(red_pictures(4), 4), image_grid(red_pictures(4), 1)
    assert wide.size == tall.size[::-1]


def test_pictures_keep_their_order():
    pictures = red_pictures(2)
    pictures[1] = 0
    pixels = np.asarray(image_grid(pictures, 2))
    middle = pixels[pixels.shape[0] // 2]
    assert (middle == RED).all(-1).argmax() < (middle == 0).all(-1).argmax()


def test_labels_are_drawn_inside_the_grid_and_hide_no_picture():
    labels = ["red heart", "a very long label " * 4, "x" * 100, ""]
    grid = image_grid(red_pictures(4), 2, labels)
    assert count_red(grid) == 4 * 20 * 20
    pixels = np.asarray(grid)
    assert (pixels == 0).all(-1).any()
    edges = [pixels[:4], pixels[-4:], pixels[:, :4], pixels[:, -4:]]
    assert all((edge == 255).all() for edge in edges)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((0, 4, 4, 3), np.uint8), {}, r"shape \[N, H, W, 3\]"),
        (np.zeros((4, 4, 3), np.uint8), {}, r"shape \[N, H, W, 3\]"),
        (np.zeros((1, 4, 4, 3)), {}, "must be uint8. Received: float64"),
        (red_pictures(2), {"labels": ["one"]}, r"picture \(2\). Received: 1"),
        (red_pictures(2), {"columns": 0}, "`columns` must be positive. Received: 0"),
    ],
)
def test_wrong_arguments_are_refused(images, options, message):
    with pytest.raises(ValueError, match=message):
        image_grid(images, **options)
