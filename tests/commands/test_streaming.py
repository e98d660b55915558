"""`keras-dalle generate --stream` and `--animation`."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from keras_dalle.commands import generate, streaming
from keras_dalle.utils.picture_files import decode_pixels
from tests.commands.command_line import drawn, run_command


@pytest.fixture
def run(tiny, monkeypatch, tmp_path):
    """Runs `generate` with the tiny model in an empty folder."""
    monkeypatch.setattr(generate, "load_task", lambda *_: tiny)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return run_command("generate", *arguments, "--preset", tiny.folder)

    return run


def content(path):
    with open(path, "rb") as file:
        return file.read()


@pytest.fixture
def saved(monkeypatch):
    """The pixels of every file as it was put in its place, in order."""
    files = []
    replace = os.replace

    def spy(source, target):
        if str(target).endswith(".png"):
            files.append(decode_pixels(content(source)))
        replace(source, target)

    monkeypatch.setattr(os, "replace", spy)
    return files


@pytest.mark.parametrize("options", [[], ["--every", 3], ["--every", 100]])
def test_the_last_file_is_that_without_a_stream(run, options):
    words = ["red", "blue", "--num-images", 2, "--seed", 4, "--temperature", 2]
    drawn(run(*words, "-o", "plain.png"))
    drawn(run(*words, "-o", "streamed.png", "--stream", *options))
    assert content("streamed.png") == content("plain.png")
    assert sorted(os.listdir()) == ["plain.png", "streamed.png"]


def test_the_file_grows(run, tiny, saved):
    words = ["red", "--seed", 4, "--temperature", 2, "--no-labels", "-o", "x.png"]
    drawn(run(*words, "--stream", "--every", 4))
    expected = list(tiny.generate_stream("red", seed=4, temperature=2.0, every=4))
    np.testing.assert_array_equal(saved, expected)


def test_without_options_eight_views_are_shown(run, saved):
    drawn(run("red", "-o", "x.png", "--stream"))
    assert len(saved) == 8


def test_an_animation_ends_with_the_picture(run, tiny, saved):
    words = ["red", "--seed", 4, "--temperature", 2, "--no-labels", "-o", "x.png"]
    drawn(run(*words, "--animation", "new/out.gif", "--every", 4))
    assert len(saved) == 1, "only the last"
    expected = list(tiny.generate_stream("red", seed=4, temperature=2.0, every=4))
    with Image.open("new/out.gif") as gif:
        frames = []
        for number in range(gif.n_frames):
            gif.seek(number)
            frames.append(np.asarray(gif.convert("RGB"), np.int32))
    different = [
        image
        for image, before in zip(expected, [None, *expected], strict=False)
        if not np.array_equal(image, before)
    ]
    # A frame like the one before it lengthens that one. 256 colours hold all.
    assert len(different) > 1
    np.testing.assert_allclose(frames, different, atol=4)
    np.testing.assert_array_equal(saved[0], expected[-1])


def test_a_completed_picture_keeps_its_part_from_the_first_view_on(run, tiny, saved):
    photo = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    Image.fromarray(photo).save("photo.png")
    saved.clear()
    words = ["red", "--image", "photo.png", "--keep-rows", 4, "--no-labels"]
    drawn(run(*words, "-o", "x.png", "--stream", "--every", 4))
    mask = np.arange(8)[:, None] * np.ones((8, 8)) >= 4
    expected = tiny.generate("red", seed=0, image=photo, mask=mask)
    np.testing.assert_array_equal(saved[-1], expected)


def test_options_that_do_not_go_together(run):
    for options, message in (
        (["--every", 3], "`--every` goes with `--stream` or `--animation`"),
        (["--stream", "-o", "out/"], "are for pictures in one file: -o FILE"),
        (["--animation", "x.png"], "`--animation` must end in .gif. Received: x.png"),
        (["--stream", "--num-images", 49], "At most 48 pictures are drawn in one"),
    ):
        result = run("red", *options)
        assert result.exit_code == 1, result.output
        assert message in result.stderr and "Traceback" not in result.output
        assert os.listdir() == []


def test_pixels_as_text():
    pixels = np.zeros((3, 2, 3), np.uint8)
    pixels[0, 0] = 1, 2, 3
    pixels[1, 0] = 4, 5, 6
    pixels[2] = 7, 8, 9
    text = streaming.half_blocks(Image.fromarray(pixels), 80, 24)
    assert text.plain == "▀▀\n▀▀\n"
    first, *_, last = (span.style for span in text.spans)
    assert tuple(first.color.triplet) == (1, 2, 3)
    assert tuple(first.bgcolor.triplet) == (4, 5, 6)
    assert tuple(last.color.triplet) == tuple(last.bgcolor.triplet) == (7, 8, 9)
    large = Image.new("RGB", (300, 100))
    lines = streaming.half_blocks(large, 60, 24).plain.splitlines()
    assert len(lines) == 10 and {len(line) for line in lines} == {60}
    lines = streaming.half_blocks(large, 200, 5).plain.splitlines()
    assert len(lines) == 5 and {len(line) for line in lines} == {30}


def test_a_terminal_shows_the_picture(run, monkeypatch, tmp_path):
    def screen_of(*options, **settings):
        with open(tmp_path / "screen", "w+") as file:
            console = Console(file=file, width=60, height=30, **settings)
            monkeypatch.setattr(streaming, "console", console)
            drawn(run("red", "-o", "x.png", *options))
            file.seek(0)
            return file.read()

    colourful = {"force_terminal": True, "color_system": "truecolor"}
    screen = screen_of("--stream", **colourful)
    assert "▀" in screen and "16/16" in screen
    assert "▀" not in screen_of("--animation", "x.gif", **colourful)
    assert "▀" not in screen_of("--stream", force_terminal=True, color_system=None)
    assert "▀" not in screen_of("--stream")


# Control-C as soon as the first picture has its name.
INTERRUPTED = """
import os, signal
from keras_dalle.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's `&` ignores it.
replace = os.replace
def replace_and_interrupt(*paths):
    replace(*paths)
    signal.raise_signal(signal.SIGINT)
os.replace = replace_and_interrupt
main()
"""


def test_an_interruption_leaves_a_whole_file_and_nothing_else(tiny, tmp_path):
    words = ["red", "--stream", "--every", "1", "-o", "grid.png"]
    result = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, "generate", *words]
        + ["--preset", str(tiny.folder), "--animation", "grid.gif"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode != 0, result.stdout
    assert "Interrupted. What was shown last is in grid.png" in result.stderr
    assert "Traceback" not in result.stderr
    assert os.listdir(tmp_path) == ["grid.png"]
    decode_pixels(content(tmp_path / "grid.png"))
