"""docs/generation.md: all that it shows runs, and its pictures are what that makes."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from docs.make_pictures import DOCUMENT, FOLDER, pictures_of, run_command
from keras_dalle.utils.picture_files import read_metadata
from keras_dalle.utils.picture_metadata import MetadataError

ROOT = Path(__file__).parents[2]
SHOWN = pictures_of(DOCUMENT.read_text(encoding="utf-8"))
MAX_BYTES = 100_000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of the pictures, made anew."""
    folder = tmp_path_factory.mktemp("pictures")
    command = [sys.executable, "-m", "docs.make_pictures", "--output", str(folder)]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def test_every_picture_is_shown_and_small():
    files = sorted((DOCUMENT.parent / FOLDER).iterdir())
    assert [path.name for path in files] == sorted(SHOWN)
    for path in files:
        assert path.stat().st_size < MAX_BYTES, path


def asked_for(path):
    """A picture's inputs, without what may differ on another CPU.

    These are pixels, tokens of a given picture, and seeds that are ranked best.
    """
    try:
        metadata = read_metadata(path)
    except MetadataError:
        return None
    rows = [
        replace(row, known_tokens=None, parameters={**row.parameters, "seed": 0})
        for row in metadata.pictures
    ]
    return replace(metadata, pictures=rows)


def test_the_pictures_are_what_the_commands_make(made):
    for name in SHOWN:
        shown, new = DOCUMENT.parent / FOLDER / name, made / name
        with Image.open(shown) as before, Image.open(new) as after:
            assert before.size == after.size, name
        if name.endswith((".png", ".jpg", ".webp")):
            assert asked_for(shown) == asked_for(new), name


def test_a_failing_command_is_noticed():
    with pytest.raises(RuntimeError, match="keras-dalle generate --top-k many"):
        run_command(["keras-dalle", "generate", "--top-k", "many"])
    with pytest.raises(RuntimeError, match="must be those of keras-dalle"):
        run_command(["python", "-m", "nothing"])
