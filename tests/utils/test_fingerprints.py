"""Fingerprints of pictures and presets."""

import shutil

import numpy as np
import pytest

from keras_dalle.utils.fingerprints import fingerprint_of_pixels, fingerprint_of_preset


def test_pixels_and_shape_count():
    flat, tall = np.zeros([1, 4, 3], np.uint8), np.zeros([4, 1, 3], np.uint8)
    other = flat.copy()
    other[0, 3, 2] = 1
    fingerprints = {fingerprint_of_pixels(image) for image in (flat, tall, other)}
    assert len(fingerprints) == 3
    assert fingerprint_of_pixels(flat) == fingerprint_of_pixels(flat.copy())


def test_pixels_of_a_view_count_as_they_are_seen():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert fingerprint_of_pixels(image[:, ::-1]) == fingerprint_of_pixels(
        image[:, ::-1].copy()
    )


@pytest.fixture
def preset(tmp_path):
    folder = tmp_path / "preset"
    (folder / "assets").mkdir(parents=True)
    for name in ("config.json", "metadata.json", "model.weights.h5", "assets/v.txt"):
        (folder / name).write_text(name)
    return folder


def test_a_preset_is_the_same_elsewhere(preset, tmp_path):
    before = fingerprint_of_preset([preset])
    shutil.copytree(preset, tmp_path / "copy")
    (tmp_path / "copy" / "metadata.json").write_text("saved on another day")
    (tmp_path / "copy" / "picture.png").write_text("drawn by it")
    assert fingerprint_of_preset([tmp_path / "copy"]) == before


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5", "assets/v.txt"])
def test_every_file_of_a_model_counts(preset, name):
    before = fingerprint_of_preset([preset])
    (preset / name).write_text("changed")
    changed = fingerprint_of_preset([preset])
    (preset / name).unlink()
    assert len({before, changed, fingerprint_of_preset([preset])}) == 3


def test_a_vqgan_of_its_own_counts(preset):
    assert fingerprint_of_preset([preset, preset]) != fingerprint_of_preset([preset])
