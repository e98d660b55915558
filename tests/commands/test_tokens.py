"""`keras-dalle encode` and `decode`."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from keras_dalle.generation.given_images import square
from tests.commands.command_line import refusal, run_command
from tests.tiny_preset import tiny_task

PHOTO = np.random.default_rng(0).integers(0, 256, (20, 12, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    task = tiny_task()
    task.folder = tmp_path_factory.mktemp("presets")
    task.save_to_preset(str(task.folder / "task"))
    task.vqgan.save_to_preset(str(task.folder / "vqgan"))
    return task


@pytest.fixture
def run(task, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PHOTO).save("photo.png")

    def run(*arguments, preset="task"):
        return run_command(*arguments, "--preset", task.folder / preset)

    return run


@pytest.mark.parametrize("preset", ["task", "vqgan"])
@pytest.mark.parametrize("suffix", [".json", ".npy"])
def test_a_photo_to_tokens_and_back(run, task, preset, suffix):
    result = run("encode", "photo.png", "-o", f"t{suffix}", preset=preset)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == f"t{suffix}"
    assert "its middle 12×12 are used" in result.stderr
    expected = np.asarray(task.vqgan.encode_images(square(PHOTO, 8)[None]))[0]
    if suffix == ".json":
        with open("t.json") as file:
            assert json.load(file) == expected.tolist()
    result = run("decode", f"t{suffix}", "-o", "again.png", preset=preset)
    assert result.exit_code == 0, result.output
    pixels = np.asarray(task.vqgan.decode_images(expected[None]))[0]
    np.testing.assert_array_equal(Image.open("again.png"), pixels)


def test_drawn_tokens_are_the_drawn_picture(run, task):
    drawn = task.generate("red", seed=1, return_tokens=True)
    with open("t.json", "w") as file:
        json.dump(drawn["image_tokens"].tolist(), file)
    assert run("decode", "t.json", "-o", "x.png").exit_code == 0
    np.testing.assert_array_equal(Image.open("x.png"), drawn["images"])


def test_faults_are_told(run):
    tokens = {
        "short": [1] * 15,
        "large": [32] * 16,
        "open": [-1] * 16,
        "good": [1] * 16,
    }
    for name, values in tokens.items():
        with open(f"{name}.json", "w") as file:
            json.dump(values, file)
    for words, message in (
        (["encode", "photo.png", "-o", "t.txt"], "must end in .json or .npy"),
        (["encode", "good.json", "-o", "t.npy"], "must be a whole picture"),
        (["encode", "none.png", "-o", "t.npy"], "No such file"),
        (["decode", "good.json", "-o", "x.gif"], "must end in .png, .jpg"),
        (["decode", "photo.png", "-o", "x.png"], "must end in .json or .npy"),
        (["decode", "short.json", "-o", "x.png"], "Received: 15 from 1 to 1 in short"),
        (
            ["decode", "large.json", "-o", "x.png"],
            "tokens from 0 to 31. Received: 16 f",
        ),
        (["decode", "open.json", "-o", "x.png"], "Received: 16 from -1 to -1 in open"),
    ):
        assert message in refusal(run(*words))
    assert not os.path.exists("x.png")


def test_unknown_presets(run):
    assert "Unknown preset" in refusal(
        run("encode", "photo.png", "-o", "t.npy", preset="x")
    )
