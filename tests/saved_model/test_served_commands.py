"""`keras-dalle client`: from a server what `keras-dalle generate` draws by itself."""

import contextlib
import itertools
import json
import os
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from keras_dalle.cli import app
from keras_dalle.commands import generate
from keras_dalle.commands import reproduce as reproduce_command
from keras_dalle.commands.grids import decode_pngs
from keras_dalle.commands.served_model import ServedModel
from keras_dalle.prediction_service.client import (
    PredictionClient,
    PredictionClientError,
)
from keras_dalle.prediction_service.server import PredictionServer
from keras_dalle.utils.picture_files import read_metadata, read_picture
from tests.toy_task import export_toy

# Taller than wide: its middle 16×16 begin at row 4.
PHOTO = np.random.default_rng(0).integers(0, 256, (24, 16, 3)).astype(np.uint8)
HOLE = np.zeros(PHOTO.shape[:2], bool)
HOLE[8:12, 4:8] = True
PROMPTS = ["red heart", "a cat:1.2 AND a dog:0.6"]
CONTROLS = ["--guidance-scale", 3, "--guidance-scale-end", 1, "--temperature", 0.9]
CONTROLS += ["--top-k", 9, "--top-p", 0.95, "--negative-prompt", "fog", "--seed", 5]
MAX_ROWS = 3


@pytest.fixture(scope="module")
def preset(task, tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets") / "tiny"
    task.save_to_preset(str(folder))
    return folder


@contextlib.contextmanager
def served(base_path, **options):
    options |= {"port": 0, "rest_api_port": None, "enable_model_warmup": False}
    server = PredictionServer(base_path, **options)
    server.start()
    yield f"127.0.0.1:{server.port}"
    server.stop(grace=0)


@pytest.fixture(scope="module")
def target(exported):
    with served(exported.parent) as target:
        yield target


@pytest.fixture(scope="module")
def target_of_small_batches(exported, tmp_path_factory):
    """A server that takes fewer rows a request than a client sends."""
    parameters = tmp_path_factory.mktemp("config") / "batching.config"
    parameters.write_text(
        f"max_batch_size {{ value: {MAX_ROWS} }} batch_timeout_micros {{ value: 0 }} "
        "num_batch_threads { value: 1 } max_enqueued_batches { value: 9 }"
    )
    batching = {"enable_batching": True, "batching_parameters_file": parameters}
    with served(exported.parent, **batching) as target:
        yield target


def run(*arguments):
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(app, words, env={"COLUMNS": "500"})


def drawn(result):
    assert result.exit_code == 0, result.output
    return result


def refusal(result):
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return result.stderr


@pytest.fixture
def local(task, preset, monkeypatch, tmp_path):
    """Runs a command with the tiny model of this process, in a folder with a photo."""
    for module in (generate, reproduce_command):
        monkeypatch.setattr(module, "load_task", lambda *_: task)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PHOTO).save("photo.png")
    Image.fromarray(HOLE).save("mask.png")
    return lambda *words: drawn(run(*words, "--preset", preset))


def content(path):
    """Pixels, layout and rows of a file; models differ in what is known of them."""
    picture = read_picture(path)
    metadata = picture.metadata
    fingerprints = [row.pixels_sha256 for row in metadata.pictures]
    return picture.pixels_HWC.tolist(), metadata.pictures, fingerprints, metadata.grid


IMAGE = ["--image", "photo.png"]
OPTIONS = {
    "controls": CONTROLS,
    "several": ["--num-images", 3, "--no-labels", *CONTROLS],
    "rows": [*IMAGE, "--keep-rows", "50%", *CONTROLS],
    "mask": [*IMAGE, "--mask", "mask.png", "--num-images", 2],
    "varied": [*IMAGE, "--keep-fraction", 0.5, "--num-images", 2, *CONTROLS],
    "likeliest": ["--best-of", 4, "--keep", 2, "--temperature", 2],
    "pmi": ["--best-of", 4, "--keep", 2, "--rank-by", "pmi", "--temperature", 2],
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_server_draws_what_this_process_draws(local, target, options):
    local("generate", *PROMPTS, *options, "-o", "here.png")
    drawn(run("client", target, *PROMPTS, *options, "-o", "there.png"))
    assert content("there.png") == content("here.png")
    assert read_metadata("there.png").preset.sha256 is None


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_pictures_of_a_server_are_drawn_again_here(local, target, options):
    drawn(run("client", target, *PROMPTS, *options, "-o", "x.webp"))
    os.remove("photo.png")
    assert "x.webp: identical" in local("reproduce", "x.webp").stdout


def test_prompts_of_a_file(local, target):
    lines = [
        {"prompt": "red", "image": "photo.png", "keep_rows": "50%", "name": "a"},
        {"prompt": "sun", "name": "b", "seed": 7},
        {"prompt": "moon", "image": "photo.png", "keep_fraction": 0.25, "name": "c"},
        {"prompt": "gone", "image": "gone.png", "keep_rows": 5, "name": "d"},
        {"prompt": "bad", "image": "text.png", "keep_rows": 5, "name": "e"},
    ]
    Path("text.png").write_text("no picture")
    with open("prompts.jsonl", "w") as file:
        file.write("\n".join(map(json.dumps, lines)))
    words = ["--prompts-file", "prompts.jsonl", "--top-k", 9]
    message = refusal(run("client", target, *words, "-o", "there/"))
    assert "3 drawn, 0 were there, 2 failed" in message
    with open("there/failures.jsonl") as file:
        errors = [json.loads(line)["error"] for line in file]
    assert "No such file" in errors[0]
    assert "text.png" in errors[1]
    with open("prompts.jsonl", "w") as file:
        file.write("\n".join(map(json.dumps, lines[:3])))
    local("generate", *words, "-o", "here/")
    for name in "abc":
        assert content(f"there/{name}.png") == content(f"here/{name}.png")


# === While pictures are drawn ===


@pytest.fixture
def saved(local, monkeypatch):
    """The pixels of every file as it was put in its place, in order."""
    files = []
    replace = os.replace

    def spy(source, place):
        if str(place).endswith(".png"):
            files.append(np.asarray(Image.open(source).convert("RGB")))
        replace(source, place)

    monkeypatch.setattr(os, "replace", spy)
    return files


@pytest.mark.parametrize("every", [3, 4, 100])
def test_a_stream_grows_to_the_picture(local, target, saved, every):
    words = ["red", "--no-labels", "--temperature", 0.9, "--seed", 5]
    local("generate", *words, "-o", "here.png")
    saved.clear()
    options = ["--stream", "--every", every, "--animation", "there.gif"]
    drawn(run("client", target, *words, *options, "-o", "there.png"))
    assert content("there.png") == content("here.png")
    with PredictionClient(target) as client:
        views = list(client.stream(["red"], every, temperature=0.9, seed=5))
    assert len(views) == len(saved) == -(-16 // every)
    np.testing.assert_array_equal(saved, [decode_pngs(view)[0] for view in views])
    changes = [not np.array_equal(*pair) for pair in itertools.pairwise(saved)]
    with Image.open("there.gif") as gif:
        assert gif.n_frames == 1 + sum(changes)


def test_a_stream_begins_with_the_rows_that_stay(local, target, saved):
    """2 of 4 rows of tokens stay, 8 tokens: the views of 3 and 6 are that of 9."""
    words = ["red", *IMAGE, "--keep-rows", "50%", "--no-labels"]
    local("generate", *words, "-o", "here.png")
    saved.clear()
    drawn(run("client", target, *words, "--stream", "--every", 3, "-o", "there.png"))
    assert content("there.png") == content("here.png")
    assert len(saved) == 6
    for view in saved[:2]:
        np.testing.assert_array_equal(view, saved[2])
    assert not np.array_equal(saved[3], saved[2])


# === What cannot be ===


@pytest.mark.parametrize("what", [["--mask", "mask.png"], ["--keep-fraction", 0.5]])
def test_a_stream_completes_no_holes(local, target, what):
    words = ["client", target, "red", "--stream", *IMAGE, *what, "-o", "x.png"]
    message = refusal(run(*words))
    assert "`--animation` go with `--keep-rows`, and not with `--mask`" in message
    assert not os.path.exists("x.png")


def test_the_best_are_not_completed(local, target):
    words = [*IMAGE, "--keep-rows", "50%", "--best-of", 2, "-o", "x.png"]
    message = refusal(run("client", target, "red", *words))
    assert "`--best-of` does not go with `--image` on a server" in message


def test_options_are_checked_before_the_server_is_asked(local):
    for options, message in (
        (["red", "--image", "photo.png"], "is --image FILE with --mask"),
        (["red", "--every", 3], "`--every` goes with `--stream`"),
        (["red", "--keep", 3], "`--keep` goes with `--best-of`"),
        (["red", "-o", "x.gif"], "must end in .png"),
        (["--prompts-file", "none.csv", "-o", "x/"], "No such file"),
    ):
        assert message in refusal(run("client", "127.0.0.1:1", *options))
    for options in ([], ["red", "--prompts-file", "x.csv", "-o", "x/"]):
        result = run("client", "127.0.0.1:1", *options)
        assert result.exit_code == 2
        assert "Give either PROMPTS or --prompts-file" in result.stderr


@pytest.fixture(scope="module")
def toy_target(tmp_path_factory):
    path = tmp_path_factory.mktemp("toy")
    export_toy(path)
    with served(path) as target:
        yield target


def test_a_model_without_the_signatures(local, toy_target):
    for options, signature in (
        ([*IMAGE, "--keep-rows", "50%"], "complete_image"),
        ([*IMAGE, "--keep-fraction", 0.5], "complete_image"),
        (["--stream"], "decode_chunk"),
        (["--best-of", 2], "score"),
    ):
        result = run("client", toy_target, "red", *options, "-o", "x.png")
        message = refusal(result)
        assert f"{options[0]}" in message
        assert f"needs the signature `{signature}` of the server's model" in message
        assert "Received: signatures generate, serving_default." in message


# === Requests larger than a batch ===


def test_a_server_of_small_batches(local, target, target_of_small_batches):
    for name, options in (("few", ["--num-images", 4]), ("best", ["--best-of", 5])):
        words = [*PROMPTS, *options, "--temperature", 2]
        drawn(run("client", target, *words, "-o", f"{name}.png"))
        small = run("client", target_of_small_batches, *words, "-o", f"{name}_s.png")
        drawn(small)
        assert content(f"{name}_s.png") == content(f"{name}.png")


def test_a_stream_of_more_pictures_than_a_batch(local, target, target_of_small_batches):
    words = ["red", "--num-images", MAX_ROWS + 2, "--stream", "--every", 100]
    drawn(run("client", target, *words[:3], "-o", "whole.png"))
    drawn(run("client", target_of_small_batches, *words, "-o", "small.png"))
    assert content("small.png") == content("whole.png")


def test_requests_shrink_for_a_batch_and_nothing_else(target, monkeypatch):
    """Halves that are refused again are halved again; other errors end the job."""
    sizes = []

    def refusing(code, text):
        def generate(prompts, **_):
            sizes.append(len(prompts))
            if len(prompts) > MAX_ROWS:
                raise PredictionClientError(target, code, text)
            return [b""] * len(prompts)

        return generate

    columns = {"prompts": np.array(["a"] * 7, object)}
    with PredictionClient(target) as client:
        model = ServedModel(client)
        too_large = "Task size 7 is larger than maximum input batch size 3"
        too_many = refusing(grpc.StatusCode.INVALID_ARGUMENT, too_large)
        assert len([*itertools.chain(*model._in_parts(too_many, columns))]) == 7
        assert sizes == [7, 3, 3, 1]
        sizes.clear()
        model = ServedModel(client)
        full = refusing(grpc.StatusCode.UNAVAILABLE, "queue is full")
        with pytest.raises(PredictionClientError, match="queue is full"):
            list(model._in_parts(full, columns))
        assert sizes == [7]


def test_the_best_of_a_file_lose_no_other(local, target):
    # Its length is a rule of the server alone.
    Path("prompts.txt").write_text(f"red\n{'x' * 20_000}\n")
    words = ["--prompts-file", "prompts.txt", "--best-of", 2, "-o", "pictures/"]
    result = run("client", target, *words)
    assert result.exit_code == 1, result.output
    assert "16384 bytes" in Path("pictures/failures.jsonl").read_text()
    assert len(list(Path("pictures").glob("red_*.png"))) == 1


def test_a_row_that_cannot_be_drawn(target):
    with PredictionClient(target) as client:
        model = ServedModel(client)
        with pytest.raises(ValueError, match="2 of 2 rows failed"):
            model.generate(["a", "b"], temperature=[-1.0, 0.0])
        with pytest.raises(ValueError, match="pictures that `encode_images` has read"):
            model.generate(["a"], image=[[0] * 16])


def test_a_server_cuts_a_prompt_where_the_model_does(task, target):
    words = "one red kite above the sea and a small boat with white sails far away"
    ((kept, _),) = task.preprocessor.kept_and_left_out([words])
    with PredictionClient(target) as client:
        model = ServedModel(client)
        prompts = [words.encode(), b"a cat", kept.encode(), (kept + "  ").encode()]
        ((served_kept, served_left_out),) = model.kept_and_left_out(prompts)
    assert f"{served_kept} {served_left_out}" == words
    # To whole words.
    assert served_kept.startswith(kept.rstrip())
    assert " " not in served_kept[len(kept.rstrip()) :]
