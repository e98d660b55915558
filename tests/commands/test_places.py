"""Faults of places and options are reported before a model is loaded."""

import os

import numpy as np
import pytest
from PIL import Image

from keras_dalle.utils.picture_files import save_picture
from keras_dalle.utils.picture_metadata import (
    PictureMetadata,
    PictureRow,
    PresetIdentity,
)
from tests.commands.command_line import refusal, run_command
from tests.limits import read_only_folder

SERVER = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Files to read, a FIFO, and a preset that cannot be loaded."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "preset").mkdir()
    (tmp_path / "preset" / "config.json").write_text("{}")
    (tmp_path / "file").touch()
    (tmp_path / "tokens.json").write_text("[1, 2]")
    (tmp_path / "folder.png").mkdir()
    for suffix in (".png", ".gif"):
        os.mkfifo(tmp_path / f"pipe{suffix}")
    image = Image.fromarray(np.zeros((2, 2, 3), np.uint8))
    rows = [PictureRow("red", "", {"seed": 0}, "0" * 64)]
    identity = PresetIdentity("preset", None)
    save_picture(image, "drawn.png", PictureMetadata(rows, identity, None, "0"))


P = ["--preset", "preset"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["generate", "red", *P, "-o", "file/"], "file/ must be a folder, or not"),
        (["generate", "red", *P, "-o", "file/new/"], "must lie in a folder. Received"),
        (["generate", "red", *P, "-o", "file/x.png"], "must lie in a folder. Received"),
        (
            ["generate", "red", *P, "-o", "pipe.png"],
            "pipe.png must be an ordinary file",
        ),
        (["generate", "red", *P, "--animation", "pipe.gif"], "pipe.gif must be an ord"),
        (["client", SERVER, "red", "-o", "file/"], "file/ must be a folder, or not"),
        (["client", SERVER, "red", "-o", "file/x.png"], "must lie in a folder."),
        (["reproduce", "drawn.png", *P, "-o", "folder.png"], "Received: a folder."),
        (["encode", "drawn.png", *P, "-o", "file/x.json"], "must lie in a folder."),
        (["decode", "tokens.json", *P, "-o", "pipe.png"], "Received: a FIFO."),
        (["demo", "red", "-o", "pipe.png"], "pipe.png must be an ordinary file"),
        (["evaluate", "preset", "-o", "file"], "file must be a folder, or not exist"),
        (["prepare-data", "--data-dir", "file"], "file must be a folder, or not exist"),
        (
            ["train", "--recipe", "emoji_tiny", "--run-dir", "file"],
            "file must be a fol",
        ),
        (["export", "preset", "file"], "file must be a folder, or not exist yet."),
        (["export", "preset", "file/x"], "file/x must lie in a folder. Received: "),
        (["convert", "preset", "file/x"], "file/x must lie in a folder. Received: "),
        (["convert", "preset", "folder.png"], "folder.png exists already"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_places_that_cannot_be_written(words, message):
    before = sorted(os.listdir("."))
    assert message in refusal(run_command(*words))
    assert sorted(os.listdir(".")) == before, "no litter"


@pytest.mark.parametrize(
    "words",
    [
        ["generate", "red", "-o", "{}/x.png"],
        ["generate", "red", "-o", "{}/"],
        ["generate", "red", "-o", "{}/there.png"],
        ["client", SERVER, "red", "-o", "{}/new/"],
        ["export", "emoji_tiny", "{}/new/dalle"],
        ["convert", "emoji_tiny", "{}/new"],
        ["train", "--recipe", "mini", "--run-dir", "{}/new"],
        ["evaluate", "emoji_tiny", "-o", "{}"],
    ],
    ids=" ".join,
)
def test_places_without_permission(words):
    with read_only_folder("there.png") as place:
        words = [word.format(place) for word in words]
        message = refusal(run_command(*words))
    assert f"Error: {words[-1]} cannot be written: there is no permission" in message


@pytest.mark.parametrize(
    "words, message",
    [
        (
            ["red", "--temperature", "0"],
            "`temperature` must be a finite number above 0",
        ),
        (
            ["red", "--guidance-scale", "-0.5"],
            "`guidance_scale` must be a finite number",
        ),
        (["red", "--top-p", "1.5"], "`top_p` must be above 0 and at most 1"),
        (["a:x AND b:2,5"], "A part of `prompt` must end in a weight below 1000"),
        (["x" * 100_001], "at most 100,000 characters"),
        (["--prompts-file", "p.csv", "-o", "out/"], "line 3: `top_p` must be above 0"),
    ],
    ids=lambda x: x[-1][:20] if isinstance(x, list) else "",
)
@pytest.mark.parametrize("command", [["generate", *P], ["client", SERVER]])
def test_values_out_of_range(command, words, message, tmp_path):
    (tmp_path / "p.csv").write_text("prompt,top_p\nred,1\nblue,0\n")
    assert message in refusal(run_command(*command, *words))
    assert not (tmp_path / "out").exists()


def test_an_export_of_a_version_that_is_there_is_refused(tmp_path):
    (tmp_path / "base" / "3").mkdir(parents=True)
    words = ["export", "preset", "base", "--version", 3]
    assert "A version is never overwritten" in refusal(run_command(*words))


def test_more_pictures_than_days_of_drawing(tmp_path):
    (tmp_path / "p.csv").write_text("prompt,num_images\n" + "red,99999\n" * 11)
    words = ["generate", *P, "--prompts-file", "p.csv", "-o", "out/"]
    assert "at most 1,000,000 pictures. Received: 1,099,989" in refusal(
        run_command(*words)
    )
    result = run_command("generate", "red", *P, "--num-images", 10**9)
    assert result.exit_code == 2 and "Invalid value for '--num-images'" in result.stderr
