"""`keras-dalle generate --image`: what stays of pictures, and what is said of them."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from keras_dalle.commands import generate
from keras_dalle.commands import reproduce as reproduce_command
from keras_dalle.utils.fingerprints import fingerprint_of_pixels
from keras_dalle.utils.picture_files import read_metadata, read_picture
from tests.commands.command_line import drawn, refusal, run_command

RNG = np.random.default_rng(0)
# Taller than wide: its middle 16×16 begin at row 4.
PHOTO = RNG.integers(0, 256, (24, 16, 3)).astype(np.uint8)


@pytest.fixture
def run(tiny, monkeypatch, tmp_path):
    """Runs a command with the tiny model, in a folder with a photo."""
    for module in (generate, reproduce_command):
        monkeypatch.setattr(module, "load_task", lambda *_: tiny)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PHOTO).save("photo.png")

    def run(command, *arguments):
        return run_command(command, *arguments, "--preset", tiny.folder)

    return run


def lower_part(rows, shape=PHOTO.shape[:2]):
    mask = np.zeros(shape, bool)
    mask[rows:] = True
    return mask


def pixels(path):
    return read_picture(path).pixels_HWC


@pytest.mark.parametrize("kept, rows", [("12", 12), ("50%", 12), ("37.5%", 9)])
def test_the_upper_part_is_that_of_python(run, tiny, kept, rows):
    options = ["--image", "photo.png", "--keep-rows", kept, "--seed", 3, "--no-labels"]
    result = drawn(run("generate", "red", *options, "-o", "out.png"))
    assert "photo.png has 16×24 pixels: its middle 16×16 are used" in result.stderr
    mask = lower_part(rows)
    expected = tiny.generate("red", seed=3, image=PHOTO, mask=mask, return_tokens=True)
    np.testing.assert_array_equal(pixels("out.png"), expected["images"])
    (row,) = read_metadata("out.png").pictures
    known = np.array(row.known_tokens)
    stay = known >= 0
    assert 0 < stay.sum() < len(stay)
    np.testing.assert_array_equal(known[stay], expected["image_tokens"][stay])


def test_a_mask_is_white_where_to_draw(run, tiny):
    mask = np.zeros(PHOTO.shape[:2], bool)
    mask[8:12, 4:8] = True
    Image.fromarray(mask).save("mask.png")
    options = ["--image", "photo.png", "--mask", "mask.png", "--num-images", 2]
    drawn(run("generate", "red", "blue", *options, "-o", "out/"))
    for prompt in ("red", "blue"):
        for seed in (0, 1):
            expected = tiny.generate(prompt, seed=seed, image=PHOTO, mask=mask)
            np.testing.assert_array_equal(pixels(f"out/{prompt}_{seed}.png"), expected)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_reproduced_without_the_photo(run, suffix):
    options = ["--image", "photo.png", "--keep-rows", "50%", "--num-images", 2]
    path = f"grid{suffix}"
    drawn(run("generate", "red", "(heart):2", *options, "-o", path))
    os.remove("photo.png")
    result = drawn(run("reproduce", path, "-o", f"again{suffix}"))
    assert "identical: all pixels of the file, and 4 of 4 pictures" in result.stdout
    with open(path, "rb") as before, open(f"again{suffix}", "rb") as after:
        assert before.read() == after.read()


def test_a_variation_is_that_of_python(run, tiny):
    for options, given in (
        ([], {}),
        (["--keep-rows", 12], {"mask": lower_part(12)}),
    ):
        words = ["red", "--image", "photo.png", "--keep-fraction", 0.5, *options]
        drawn(run("generate", *words, "--num-images", 3, "--seed", 5, "-o", "x.png"))
        expected = tiny.generate(
            ["red"] * 3,
            seed=[5, 6, 7],
            image=PHOTO,
            keep_fraction=0.5,
            return_tokens=True,
            **given,
        )
        rows = read_metadata("x.png").pictures
        for row, image, tokens in zip(
            rows, expected["images"], expected["image_tokens"], strict=True
        ):
            assert row.pixels_sha256 == fingerprint_of_pixels(image)
            known = np.array(row.known_tokens)
            np.testing.assert_array_equal(known[known >= 0], tokens[known >= 0])
        assert len({row.known_tokens for row in rows}) == 3, "other places a seed"
        os.remove("photo.png")
        assert "3 of 3 pictures" in drawn(run("reproduce", "x.png")).stdout
        Image.fromarray(PHOTO).save("photo.png")


def test_the_best_of_many_complete_it_too(run, tiny):
    options = ["--image", "photo.png", "--keep-rows", 12, "--best-of", 3, "--keep", 2]
    drawn(run("generate", "red", *options, "--temperature", 2, "-o", "out/"))
    for name in os.listdir("out"):
        (row,) = read_metadata(f"out/{name}").pictures
        expected = tiny.generate(
            "red", image=PHOTO, mask=lower_part(12), **row.parameters
        )
        np.testing.assert_array_equal(pixels(f"out/{name}"), expected)
    assert len(os.listdir("out")) == 2


def test_options_that_do_not_go_together(run):
    for options in (
        ["--image", "photo.png"],
        ["--mask", "photo.png"],
        ["--keep-rows", "5"],
        ["--image", "photo.png", "--mask", "photo.png", "--keep-rows", "5"],
    ):
        message = refusal(run("generate", "red", *options, "-o", "out.png"))
        assert "is --image FILE with --mask FILE or --keep-rows ROWS, one to" in message
        assert "Loading" not in message
        assert " ".join(options[-2:]) in message


def test_pictures_that_cannot_be_used(run):
    Image.new("1", (16, 23)).save("small.png")
    Image.new("1", (16, 24)).save("black.png")
    Image.new("1", (16, 24), 1).save("white.png")
    with open("photo.png", "rb") as file, open("cut.png", "wb") as cut:
        cut.write(file.read()[:-300])
    for image, options, message in (
        ("none.png", ["--keep-rows", 5], "No such file or directory: 'none.png'"),
        ("cut.png", ["--keep-rows", 5], "cut.png must be a whole picture"),
        ("photo.png", ["--mask", "cut.png"], "cut.png must be a whole picture"),
        ("photo.png", ["--mask", "small.png"], "16×23 pixels in small.png, 16×24 in p"),
        ("photo.png", ["--mask", "black.png"], "leaves nothing to draw in photo.png"),
        ("photo.png", ["--mask", "white.png"], "leaves nothing of photo.png"),
        ("photo.png", ["--keep-rows", 5], "--keep-rows 5 leaves nothing of photo.png"),
        ("photo.png", ["--keep-rows", 24], "from 1 to 23 rows of this picture's 24"),
        ("photo.png", ["--keep-rows", "0%"], "Received: 0%"),
        ("photo.png", ["--keep-rows", "half"], "Received: half"),
        ("photo.png", ["--keep-rows", "nan%"], "Received: nan%"),
    ):
        result = run("generate", "red", "--image", image, *options, "-o", "out.png")
        assert message in refusal(result)
        assert not os.path.exists("out.png")


# === Prompts from a file ===


@pytest.fixture
def draw_file(run):
    def draw(lines, *options):
        os.makedirs("job", exist_ok=True)
        Image.fromarray(PHOTO).save("job/photo.png")
        with open("job/prompts.jsonl", "w") as file:
            file.write("\n".join(map(json.dumps, lines)))
        words = ["--prompts-file", "job/prompts.jsonl", "-o", "out/", *options]
        return run("generate", *words)

    return draw


def test_rows_complete_their_own_pictures(draw_file, tiny):
    mask = lower_part(16)
    os.makedirs("job")
    Image.fromarray(mask).save("job/mask.png")
    lines = [
        {"prompt": "red", "image": "photo.png", "keep_rows": "50%", "name": "a"},
        {"prompt": "red", "image": "photo.png", "mask": "mask.png", "name": "b"},
        {"prompt": "red", "name": "c"},
        {"prompt": "red", "image": "photo.png", "name": "d", "seed": 7},
        {"prompt": "red", "image": "photo.png", "name": "e", "keep_fraction": 0.25},
    ]
    drawn(draw_file(lines, "--keep-rows", "12"))
    for name, seed, given in (
        ("a", 0, {"image": PHOTO, "mask": lower_part(12)}),
        ("b", 0, {"image": PHOTO, "mask": mask}),
        ("c", 0, {}),
        ("d", 7, {"image": PHOTO, "mask": lower_part(12)}),
        ("e", 0, {"image": PHOTO, "keep_fraction": 0.25}),
    ):
        expected = tiny.generate("red", seed=seed, **given)
        np.testing.assert_array_equal(pixels(f"out/{name}.png"), expected)


def test_a_picture_that_cannot_be_used_loses_no_other(draw_file):
    lines = [
        {"prompt": "red", "image": "photo.png", "keep_rows": 12},
        {"prompt": "bad", "image": "text.png", "keep_rows": 12},
        {"prompt": "gone", "image": "gone.png", "keep_rows": 12},
        {"prompt": "none", "keep_rows": 12},
        {"prompt": "blue"},
    ]
    os.makedirs("job")
    with open("job/text.png", "w") as file:
        file.write("text")
    message = refusal(draw_file(lines))
    assert "2 drawn, 0 were there, 3 failed" in message
    names = ["blue_0.png", "failures.jsonl", "red_0.png"]
    assert sorted(os.listdir("out")) == names
    with open("out/failures.jsonl") as file:
        failures = [json.loads(line) for line in file]
    assert [failure["line"] for failure in failures] == [2, 3, 4]
    for failure, text in zip(
        failures,
        ("must be a whole picture", "No such file", "is --image FILE with --mask"),
        strict=True,
    ):
        assert text in failure["error"]
    # Mended, only what is missing is drawn.
    Image.fromarray(PHOTO).save("job/text.png")
    before = os.stat("out/red_0.png").st_mtime_ns
    assert "1 drawn, 2 were there, 2 failed" in refusal(draw_file(lines))
    assert os.stat("out/red_0.png").st_mtime_ns == before


def test_another_photo_of_the_same_name_is_drawn_anew(draw_file, run):
    lines = [{"prompt": "red", "image": "../photo.png", "keep_rows": 12}]
    drawn(draw_file(lines))
    assert "0 drawn, 1 were there" in drawn(draw_file(lines)).stderr
    Image.fromarray(255 - PHOTO).save("photo.png")
    assert "1 drawn, 0 were there" in drawn(draw_file(lines)).stderr


def test_columns_have_their_types(draw_file):
    lines = [{"prompt": "a", "image": 5}, {"prompt": "b", "keep_rows": 0.5}]
    lines += [{"prompt": "c", "keep_fraction": "much"}]
    message = refusal(draw_file(lines))
    assert "line 1: `image` must be a text. Received: 5" in message
    assert "line 2: `keep_rows` must be an integer from 1 to" in message
    assert "line 3: `keep_fraction` must be a finite number. Received" in message
