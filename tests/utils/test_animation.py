"""Animated GIFs."""

import numpy as np
import pytest
from PIL import Image

from keras_dalle.utils.animation import save_gif


def frames_of(path):
    """Frames as they are shown, and how long each is, in milliseconds."""
    with Image.open(path) as image:
        assert image.info["loop"] == 0
        frames, times = [], []
        for number in range(image.n_frames):
            image.seek(number)
            frames.append(np.asarray(image.convert("RGB")))
            times.append(image.info["duration"])
    return np.stack(frames), times


def growing(count, size=16):
    """A picture that appears row by row on grey, as a decoder draws."""
    picture = np.random.default_rng(1).integers(0, 256, [size, size, 3], np.uint8)
    frames = np.full([count, size, size, 3], 127, np.uint8)
    for number in range(count):
        rows = size * (number + 1) // count
        frames[number, :rows] = picture[:rows]
    return frames


def test_frames_and_times(tmp_path):
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    frames = np.broadcast_to(colours[:, None, None], [3, 8, 10, 3]).copy()
    path = save_gif(frames, tmp_path / "new" / "x.gif", frame_ms=50, last_frame_ms=990)
    shown, times = frames_of(path)
    np.testing.assert_array_equal(shown, frames)
    assert times == [50, 50, 990]
    assert [file.name for file in path.parent.iterdir()] == ["x.gif"]


def test_what_stays_does_not_flicker(tmp_path):
    frames = growing(8)
    shown, _ = frames_of(save_gif(frames, tmp_path / "x.gif"))
    assert len(shown) == 8
    for number in range(1, 8):
        rows = 2 * number
        np.testing.assert_array_equal(shown[number - 1, :rows], shown[number, :rows])
    assert np.abs(shown[-1].astype(int) - frames[-1]).mean() < 12


def test_equal_frames_take_their_time(tmp_path):
    frames = np.zeros([4, 8, 8, 3], np.uint8)
    frames[3] = 255
    _, times = frames_of(save_gif(frames, tmp_path / "x.gif", frame_ms=100))
    assert sum(times) == 2300


def test_one_frame(tmp_path):
    frames = np.zeros([1, 8, 8, 3], np.uint8)
    with Image.open(save_gif(frames, tmp_path / "x.gif", last_frame_ms=70)) as image:
        assert image.n_frames == 1


@pytest.mark.parametrize(
    "frames, name, options, message",
    [
        (np.zeros([8, 8, 3], np.uint8), "x.gif", {}, r"uint8 \[N, H, W, 3\]"),
        (np.zeros([0, 8, 8, 3], np.uint8), "x.gif", {}, r"uint8 \[N, H, W, 3\]"),
        (np.zeros([1, 8, 8, 3]), "x.gif", {}, "Received: float64"),
        (growing(2), "x.png", {}, "must end in .gif"),
        (growing(2), "x.gif", {"frame_ms": 9}, "at least 10"),
        (growing(2), "x.gif", {"last_frame_ms": 655_300}, "at most 655350 ms"),
    ],
)
def test_wrong_arguments(tmp_path, frames, name, options, message):
    with pytest.raises(ValueError, match=message):
        save_gif(frames, tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []
