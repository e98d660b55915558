"""`keras-dalle generate`: grids, single pictures and prompts from a file."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from keras_dalle import __version__
from keras_dalle.cli import app
from keras_dalle.commands import generate
from keras_dalle.commands.preset_names import preset_identity
from keras_dalle.generation.parameters import PARAMETERS, defaults_of
from keras_dalle.utils.fingerprints import fingerprint_of_pixels
from keras_dalle.utils.picture_files import read_metadata, read_picture
from keras_dalle.utils.picture_metadata import GridLayout
from tests.commands.command_line import drawn, refusal, run_command
from tests.drawing_task import SIZE, DrawingTask

DEFAULTS = defaults_of(None)


@pytest.fixture
def task(monkeypatch):
    task = DrawingTask(bad=["bad", "worse"])
    monkeypatch.setattr(generate, "load_task", lambda *_: task)
    return task


@pytest.fixture
def draw(task, tmp_path):
    """Runs the command on a preset's folder, and gives the result."""
    folder = tmp_path / "preset"
    folder.mkdir()
    (folder / "config.json").write_text("{}")

    def run(*arguments):
        return run_command("generate", *arguments, "--preset", folder)

    return run


def seeds_of(path):
    return [row.parameters["seed"] for row in read_metadata(path).pictures]


# === One file ===


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp"])
def test_a_grid_holds_all_that_it_was_drawn_from(draw, tmp_path, suffix):
    path = tmp_path / f"grid{suffix}"
    options = ["--negative-prompt", "fog", "--seed", 5, "--temperature", 0.9]
    drawn(draw("red", "blue", "--num-images", 2, *options, "-o", path))
    metadata = read_metadata(path)
    rows = [(row.prompt, row.negative_prompt) for row in metadata.pictures]
    assert rows == [("red", "fog")] * 2 + [("blue", "fog")] * 2
    assert seeds_of(path) == [5, 6, 5, 6]
    for row in metadata.pictures:
        assert set(row.parameters) == {parameter.name for parameter in PARAMETERS}
        changed = {"seed": row.parameters["seed"], "temperature": 0.9}
        assert row.parameters == {**DEFAULTS, **changed}
        assert row.pixels_sha256
    assert metadata.grid == GridLayout(2, True)
    assert metadata.version == __version__
    assert metadata.preset == preset_identity(str(tmp_path / "preset"))
    assert metadata.preset.name == "preset", "without the path to it"


def test_one_picture_without_a_label_is_the_picture(draw, tmp_path):
    drawn(draw("red", "--no-labels", "--seed", 9, "-o", tmp_path / "x.png"))
    stored = read_picture(tmp_path / "x.png")
    assert stored.pixels_HWC.shape == (SIZE, SIZE, 3)
    assert (stored.pixels_HWC == (3, 9, 50)).all()
    assert stored.metadata.grid is None
    (row,) = stored.metadata.pictures
    assert row.pixels_sha256 == fingerprint_of_pixels(stored.pixels_HWC)


def test_seeds_wrap_as_in_the_model(draw, tmp_path):
    options = ["--seed", 2**63 - 1, "--num-images", 2, "-o", tmp_path / "x.png"]
    drawn(draw("red", *options))
    assert seeds_of(tmp_path / "x.png") == [2**63 - 1, -(2**63)]


def test_many_rows_are_drawn_together(draw, task, tmp_path):
    drawn(draw("a", "b", "--num-images", 10, "-o", tmp_path / "x.png"))
    assert [len(batch) for batch in task.batches] == [16, 4]


def test_weights_and_cuts_are_told(draw, tmp_path):
    words = " ".join(f"w{number}" for number in range(33))
    prompts = ["kick-off 20:45 AND fans", words, words, "sun:1.5 AND sea", "plain 3:2"]
    said = drawn(draw(*prompts, "-o", tmp_path / "x.png")).stderr
    assert "'kick-off 20' with weight 45, 'fans' with weight 1. If `:45` is" in said
    assert "'sun' with weight 1.5, 'sea' with weight 1.\n" in said
    assert said.count("w28 w29`; left out: `w30 w31 w32`") == 1
    assert "plain" not in said and "Warning" not in said
    many = [f"sun:{number} AND sea" for number in range(11)]
    said = drawn(draw(*many, "-o", tmp_path / "x.png")).stderr
    assert said.count("has parts") == 8 and "And 3 more such prompts" in said


def test_empty_parts_are_one_clean_message(tiny, tmp_path):
    said = refusal(
        run_command(
            "generate", " AND ", "--preset", tiny.folder, "-o", tmp_path / "x.png"
        )
    )
    assert said.count("AND") == 3 and r"write `\AND`" in said


def test_what_a_file_cannot_hold_is_refused_before_drawing(draw, task, tmp_path):
    result = draw("x" * 90_000, "-o", tmp_path / "x.jpg")
    assert result.exit_code == 1
    assert "JPEG holds at most 65,527 bytes of metadata" in result.stderr
    result = draw("a", "--num-images", 1025, "-o", tmp_path / "x.png")
    assert "A grid has at most 1024 pictures. Received: 1025" in result.stderr
    assert task.batches == []


def test_outputs_that_are_neither_file_nor_folder(draw, task, tmp_path):
    result = draw("red", "-o", tmp_path / "grid")
    assert result.exit_code == 1
    assert "must end in .png, .jpg, .jpeg, .webp" in result.stderr
    assert f"slash at its end: -o {tmp_path}/grid/" in result.stderr
    result = draw("red", "-o", tmp_path / "x.png", "--format", "webp")
    assert result.exit_code == 2 and "--format is for pictures in" in result.stderr
    assert draw("-o", tmp_path / "x.png").exit_code == 2
    assert task.batches == []


# === A folder ===


def test_single_pictures_are_named_after_prompt_and_seed(draw, tmp_path):
    folder = tmp_path / "new" / "folder"
    prompts = ["red heart", "../../etc", "❤️", "x" * 10_000, os.fsdecode(b"\xff")]
    result = drawn(draw(*prompts, "--seed", -2, "-o", f"{folder}/"))
    assert result.stdout.strip() == str(folder)
    names = ["red-heart_-2", "etc_-2", "red-heart_-2_2", "x" * 120 + "_-2"]
    names += ["picture_-2"]
    assert sorted(os.listdir(folder)) == sorted(f"{name}.png" for name in names)
    stored = read_picture(folder / "red-heart_-2_2.png")
    assert stored.metadata.pictures[0].prompt == "❤️"
    assert stored.pixels_HWC.shape == (SIZE, SIZE, 3)


def test_a_folder_that_exists_needs_no_slash(draw, tmp_path):
    drawn(draw("red", "--num-images", 2, "-o", tmp_path, "--format", "webp"))
    assert {"red_0.webp", "red_1.webp"} <= set(os.listdir(tmp_path))
    assert Image.open(tmp_path / "red_0.webp").format == "WEBP"


def test_names_that_differ_in_letter_case_are_two_files(draw, tmp_path):
    path = tmp_path / "prompts.csv"
    path.write_text("prompt,name\na,Cat\nb,cat\n")
    drawn(draw("--prompts-file", path, "-o", f"{tmp_path}/out/"))
    assert sorted(os.listdir(tmp_path / "out")) == ["Cat.png", "cat_2.png"]


def test_an_earlier_picture_of_the_same_name_stays(draw, task, tmp_path):
    folder = f"{tmp_path}/out/"
    for top_k in (1, 2, 1):
        drawn(draw("red", "--top-k", top_k, "-o", folder))
    assert sorted(os.listdir(folder)) == ["red_0.png", "red_0_2.png"]
    assert len(task.batches) == 2, "the third was there"


def test_a_file_that_is_not_ours_stays(draw, tmp_path):
    photo = tmp_path / "out" / "red_0.png"
    photo.parent.mkdir()
    photo.write_bytes(b"a photograph")
    drawn(draw("red", "-o", tmp_path / "out"))
    (tmp_path / "prompts.txt").write_text("red")
    prompts_file = ["--prompts-file", tmp_path / "prompts.txt"]
    drawn(draw(*prompts_file, "--top-k", 1, "-o", tmp_path / "out"))
    assert photo.read_bytes() == b"a photograph"
    assert sorted(os.listdir(tmp_path / "out")) == ["red_0.png", "red_0_2.png"]


# === Prompts from a file ===


@pytest.fixture
def draw_file(draw, tmp_path):
    """Draws the prompts of a file of this text into out/."""

    def run(text, *options, name="prompts.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        folder = f"{tmp_path}/out/"
        return draw("--prompts-file", tmp_path / name, "-o", folder, *options)

    return run


def test_rows_have_their_own_parameters(draw_file, tmp_path):
    text = "prompt,negative_prompt,seed,top_k,name\nred,fog,7,3,mine\nblue,,,,\n"
    drawn(draw_file(text, "--seed", 1, "--negative-prompt", "snow"))
    mine = read_picture(tmp_path / "out" / "mine.png")
    assert (mine.pixels_HWC == (3, 7, 3)).all()
    (row,) = mine.metadata.pictures
    assert row.negative_prompt == "fog"
    assert row.parameters == {**DEFAULTS, "seed": 7, "top_k": 3}
    (row,) = read_metadata(tmp_path / "out" / "blue_1.png").pictures
    assert row.negative_prompt == "snow"
    assert row.parameters == {**DEFAULTS, "seed": 1}


def test_what_is_there_is_not_drawn_again(draw_file, task, tmp_path):
    lines = [f"prompt {number}" for number in range(20)]
    drawn(draw_file("\n".join(lines), name="p.txt"))
    (tmp_path / "out" / "prompt-3_0.png").unlink()
    before = (tmp_path / "out" / "prompt-4_0.png").stat().st_mtime_ns
    task.batches.clear()
    result = drawn(draw_file("\n".join(lines), name="p.txt"))
    assert task.batches == [["prompt 3"]]
    assert "1 drawn, 19 were there, 0 failed" in result.stderr
    assert (tmp_path / "out" / "prompt-4_0.png").stat().st_mtime_ns == before


def test_a_changed_row_is_drawn_again(draw_file, task, tmp_path):
    text = "prompt,name,top_k\nred,a,1\nblue,b,1\n"
    drawn(draw_file(text))
    task.batches.clear()
    drawn(draw_file(text.replace("blue,b,1", "blue,b,2")))
    assert task.batches == [["blue"]]
    assert sorted(os.listdir(tmp_path / "out")) == ["a.png", "b.png"]
    assert (
        read_metadata(tmp_path / "out" / "b.png").pictures[0].parameters["top_k"] == 2
    )


def test_another_model_draws_all_again(draw_file, task, tmp_path):
    drawn(draw_file("prompt\nred\n"))
    (tmp_path / "preset" / "model.weights.h5").write_bytes(b"trained for longer")
    drawn(draw_file("prompt\nred\n"))
    assert len(task.batches) == 2
    assert os.listdir(tmp_path / "out") == ["red_0.png"]


def test_an_interruption_keeps_what_was_drawn(draw_file, task, tmp_path):
    lines = [f"prompt {number}" for number in range(40)]
    whole_generate = task.generate

    def interrupted(inputs, **parameters):
        if len(task.batches) == 1:
            raise KeyboardInterrupt
        return whole_generate(inputs, **parameters)

    task.generate = interrupted
    assert draw_file("\n".join(lines), name="p.txt").exit_code != 0
    assert len(os.listdir(tmp_path / "out")) == 16
    task.generate = whole_generate
    task.batches.clear()
    drawn(draw_file("\n".join(lines), name="p.txt"))
    assert [len(batch) for batch in task.batches] == [16, 8]
    assert len(os.listdir(tmp_path / "out")) == 40


def test_one_failure_loses_no_other(draw_file, task, tmp_path):
    lines = ["# failures", "red", "bad", "blue", "worse"]
    result = draw_file("\n".join(lines), "--top-k", 5, name="p.txt")
    assert result.exit_code == 1
    assert "2 drawn, 0 were there, 2 failed" in result.stderr
    assert "Error: 2 of 4 pictures could not be drawn. The first: `prompt` must be" in (
        result.stderr
    )
    out = tmp_path / "out"
    assert sorted(os.listdir(out)) == ["blue_0.png", "failures.jsonl", "red_0.png"]
    failures = (out / "failures.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in failures] == [
        {
            "line": line,
            "file": f"{prompt}_0.png",
            "prompt": prompt,
            "negative_prompt": "",
            **DEFAULTS,
            "top_k": 5,
            "error": f"`prompt` must be good. Received: {prompt}",
        }
        for line, prompt in [(3, "bad"), (5, "worse")]
    ]
    assert task.batches == [
        ["red", "bad", "blue", "worse"],
        ["red"],
        ["bad"],
        ["blue"],
        ["worse"],
    ]
    task.bad.clear()
    drawn(draw_file("\n".join(lines), "--top-k", 5, name="p.txt"))
    assert "failures.jsonl" not in os.listdir(out), "they are drawn now"


def test_a_prompt_too_long_for_the_format_fails_alone(draw_file, tmp_path):
    text = "red\n" + "x" * 90_000
    result = draw_file(text, "--format", "jpg", name="p.txt")
    assert result.exit_code == 1
    assert "1 of 2 pictures could not be drawn. The first: JPEG holds" in result.stderr
    assert "red_0.jpg" in os.listdir(tmp_path / "out")


def test_comments_are_counted_aloud(draw_file, tmp_path):
    result = drawn(draw_file("#hashtag\nred\n# b\n", name="p.txt"))
    assert f"lines of {tmp_path}/p.txt that begin with #: 2." in result.stderr
    result = drawn(draw_file("prompt\n#red\n"))
    assert "Skipped" not in result.stderr


def test_standard_input_is_drawn(tmp_path, task, draw):
    del draw  # It makes the preset.
    words = ["generate", "--prompts-file", "-", "-o", f"{tmp_path}/out/"]
    words += ["--preset", str(tmp_path / "preset")]
    text = "Prompt\tseed\tNum_images\nred\t7.0\t2\n\t\t\n"
    assert CliRunner().invoke(app, words, input=text).exit_code == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["red_7.png", "red_8.png"]


def test_faults_of_the_file_are_told_before_drawing(draw_file, task, tmp_path):
    result = draw_file("prompt,seed\nred,1\nblue,one\n")
    assert result.exit_code == 1
    assert "line 3: `seed` must be an integer from " in result.stderr
    assert task.batches == [] and not (tmp_path / "out").exists()


def test_a_prompts_file_goes_into_a_folder(draw, tmp_path):
    (tmp_path / "p.txt").write_text("red")
    options = ["--prompts-file", tmp_path / "p.txt"]
    for more in ([], ["-o", tmp_path / "x.png"], ["blue", "-o", f"{tmp_path}/out/"]):
        result = draw(*options, *more)
        assert result.exit_code == 2, result.output
    result = draw("--prompts-file", tmp_path / "none.txt", "-o", f"{tmp_path}/out/")
    assert result.exit_code == 1 and "none.txt" in result.stderr


def test_batches_change_no_picture(draw_file, draw, tmp_path):
    drawn(draw_file("red\nbluish\n", name="p.txt"))
    drawn(draw("bluish", "--no-labels", "-o", tmp_path / "alone.png"))
    np.testing.assert_array_equal(
        read_picture(tmp_path / "alone.png").pixels_HWC,
        read_picture(tmp_path / "out" / "bluish_0.png").pixels_HWC,
    )
