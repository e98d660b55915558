"""`keras-dalle reproduce`: pictures again, and whether they are the same."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from keras_dalle.commands import generate, preset_names
from keras_dalle.commands import reproduce as reproduce_command
from keras_dalle.utils.picture_files import read_metadata, read_picture, save_picture
from keras_dalle.utils.picture_metadata import KEY, PictureRow, PresetIdentity
from tests.commands.command_line import run_command
from tests.drawing_task import DrawingTask


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """A shipped preset named toy."""
    monkeypatch.setattr(preset_names, "PRESETS_DIRECTORY", tmp_path / "presets")
    folder = tmp_path / "presets" / "toy"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    for module in (generate, reproduce_command):
        monkeypatch.setattr(module, "load_task", lambda *_: DrawingTask())
    return folder


@pytest.fixture
def picture(toy, tmp_path):
    path = tmp_path / "grid.png"
    words = ["generate", "red", "blue", "--num-images", 2, "--seed", 5]
    assert run_command(*words, "--preset", "toy", "-o", path).exit_code == 0
    return path


def rewritten(path, **changes):
    """The same pixels with other metadata."""
    metadata = replace(read_metadata(path), **changes)
    with Image.open(path) as image:
        image.load()
    save_picture(image, path, metadata)
    return path


def changed_rows(path, **changes):
    return [replace(row, **changes) for row in read_metadata(path).pictures]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
@pytest.mark.parametrize(
    "options", [["a", "b", "--num-images", 2], ["a", "b", "--no-labels"], ["a"]]
)
def test_every_file_is_made_again(toy, tmp_path, suffix, options):
    path, again = tmp_path / f"x{suffix}", tmp_path / f"again{suffix}"
    options = [*options, "--preset", "toy", "--seed", 5, "--top-k", 9]
    assert run_command("generate", *options, "-o", path).exit_code == 0
    result = run_command("reproduce", path, "--output", again)
    assert result.exit_code == 0, result.output
    assert f"{path}: identical: all pixels" in result.stdout
    assert again.read_bytes() == path.read_bytes()


def test_single_pictures_of_a_folder_too(toy, tmp_path):
    run_command("generate", "red", "-o", f"{tmp_path}/out/", "--preset", "toy")
    result = run_command("reproduce", tmp_path / "out" / "red_0.png")
    assert result.exit_code == 0, result.output
    assert "identical: all pixels of the file, and 1 of 1 pictures" in result.stdout


def test_into_another_format(picture, tmp_path):
    again = tmp_path / "again.webp"
    assert run_command("reproduce", picture, "-o", again).exit_code == 0
    before, after = read_picture(picture), read_picture(again)
    np.testing.assert_array_equal(before.pixels_HWC, after.pixels_HWC)
    assert before.metadata == after.metadata


def test_every_row_is_drawn_with_its_own_inputs(picture):
    rows = list(read_metadata(picture).pictures)
    parameters = {**rows[3].parameters, "top_k": 7}
    rows[3] = PictureRow("blue", "", parameters, rows[3].pixels_sha256)
    result = run_command("reproduce", rewritten(picture, pictures=rows))
    assert result.exit_code == 1
    assert "not identical: 1 of 4 pictures differ" in result.stdout


def test_an_edited_picture_is_noticed(picture):
    metadata = read_metadata(picture)
    with Image.open(picture) as image:
        image.load()
    image.putpixel((0, 0), (0, 0, 0))
    save_picture(image, picture, metadata)
    result = run_command("reproduce", picture)
    assert result.exit_code == 1
    assert "the 4 drawn are, but 1 pixels of the file are not" in result.stdout
    save_picture(image.crop((0, 0, 20, 30)), picture, metadata)
    result = run_command("reproduce", picture)
    assert result.exit_code == 1
    assert "but the file has 20×30 pixels in place of" in result.stdout


def test_another_model_is_named(picture, toy):
    before = read_metadata(picture).preset
    (toy / "model.weights.h5").write_bytes(b"trained for longer")
    after = preset_names.preset_identity("toy")
    result = run_command("reproduce", picture)
    assert f"Warning: the picture was drawn by {before}" in result.stderr
    assert f"This is another model: {after}" in result.stderr
    assert before.sha256 != after.sha256 and after.sha256 in result.stderr


def test_another_version_is_named(picture):
    result = run_command("reproduce", rewritten(picture, version="0.0.9"))
    assert "Note: drawn by keras_dalle 0.0.9" in result.stderr
    assert result.exit_code == 0


@pytest.mark.parametrize(
    "identity",
    [
        PresetIdentity("../presets/toy", "0" * 64),
        PresetIdentity("hf://someone/model", "0" * 64),
        PresetIdentity("toy", None),
    ],
)
def test_a_file_chooses_no_folder_and_no_download(picture, identity):
    path = rewritten(picture, preset=identity)
    result = run_command("reproduce", path)
    assert result.exit_code == 1
    assert f"was drawn by {identity}, which is no preset that" in result.stderr
    assert run_command("reproduce", path, "--preset", "toy").exit_code == 0


def test_a_parameter_from_the_future_is_named(picture):
    parameters = {**read_metadata(picture).pictures[0].parameters, "sparkle": 1}
    rows = changed_rows(picture, parameters=parameters)
    result = run_command("reproduce", rewritten(picture, pictures=rows, version="9.0"))
    assert result.exit_code == 1
    assert "Received: sparkle, from keras_dalle 9.0. Use that version" in result.stderr


def test_a_file_of_the_first_format(picture):
    with Image.open(picture) as image:
        image.load()
        content = json.loads(image.info[KEY])
    content["format"] = 1
    for row in content["pictures"]:
        assert row.pop("known_tokens") is None
    info = PngImagePlugin.PngInfo()
    info.add_itxt(KEY, json.dumps(content))
    image.save(picture, pnginfo=info)
    result = run_command("reproduce", picture)
    assert result.exit_code == 0, result.output
    assert "identical: all pixels of the file, and 4 of 4 pictures" in result.stdout


def test_a_parameter_that_came_later_has_the_model_s_default(picture):
    rows = [
        replace(row, parameters={"seed": row.parameters["seed"]})
        for row in read_metadata(picture).pictures
    ]
    result = run_command("reproduce", rewritten(picture, pictures=rows))
    assert result.exit_code == 0, result.output


def test_what_is_no_picture_of_ours(toy, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    (tmp_path / "text.png").write_text("text")
    for name, message in (
        ("photo.png", "must be a picture that `keras-dalle` wrote"),
        ("text.png", "must be a whole picture"),
        ("none.png", "No such file"),
    ):
        result = run_command("reproduce", tmp_path / name)
        assert result.exit_code == 1
        assert message in result.stderr and "Traceback" not in result.output


def test_a_bad_output_is_refused_before_drawing(picture, tmp_path):
    result = run_command("reproduce", picture, "-o", tmp_path / "again.gif")
    assert result.exit_code == 1
    assert "must end in .png" in result.stderr
    assert "Drawing" not in result.stderr


def test_a_real_model_draws_the_same_again(tiny, tmp_path):
    """Grids and folders, drawn in other batches, in this process and another model."""
    lines = [
        {"prompt": "red heart", "seed": 1, "temperature": 0.9, "name": "a"},
        {"prompt": "❤️", "negative_prompt": "fog", "guidance_scale": 3.5, "name": "b"},
        {"prompt": "sun", "top_k": 5, "top_p": 0.5, "name": "c"},
    ]
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("\n".join(map(json.dumps, lines)))
    options = ["--preset", tiny.folder, "-o", f"{tmp_path}/out/", "--format", "webp"]
    assert run_command("generate", "--prompts-file", prompts, *options).exit_code == 0
    moved = tmp_path / "elsewhere" / "tiny"
    shutil.copytree(tiny.folder, moved)
    for line in lines:
        path = tmp_path / "out" / f"{line['name']}.webp"
        result = run_command("reproduce", path, "--preset", moved)
        assert result.exit_code == 0, result.output
        assert "identical" in result.stdout and "Warning" not in result.stderr


def test_the_weights_of_a_prompt_are_part_of_its_picture(tiny, monkeypatch, tmp_path):
    """`a AND b` is drawn again as such: with other weights it is another picture."""
    for module in (generate, reproduce_command):
        monkeypatch.setattr(module, "load_task", lambda *_: tiny)
    prompts = ["red heart:0.7 AND sun:0.5", "red heart", "sun AND fog:-1"]
    path = tmp_path / "grid.png"
    options = ["--preset", tiny.folder, "--guidance-scale", 3, "--seed", 1]
    assert run_command("generate", *prompts, *options, "-o", path).exit_code == 0
    result = run_command("reproduce", path, "--preset", tiny.folder)
    assert result.exit_code == 0, result.output
    assert "identical: all pixels of the file, and 3 of 3 pictures" in result.stdout
    rows = list(read_metadata(path).pictures)
    assert [row.prompt for row in rows] == prompts
    rows[0] = replace(rows[0], prompt="red heart:0.5 AND sun:0.7")
    rows[2] = replace(rows[2], prompt="fog:-1 AND sun")
    result = run_command(
        "reproduce", rewritten(path, pictures=rows), "--preset", tiny.folder
    )
    assert result.exit_code == 1
    assert "not identical: 1 of 3 pictures differ" in result.stdout
