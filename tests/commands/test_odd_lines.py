"""Command lines of careless people: one message each, before a model is loaded."""

import os
import subprocess
import sys

import pytest

from keras_dalle.utils.picture_files import read_metadata
from tests.commands.command_line import drawn, refusal, run_command
from tests.drawing_task import DrawingTask


@pytest.mark.parametrize(
    "words, message",
    [
        (
            ["--temperature", "NaN"],
            "It must be a finite number, as 1.5. Received: 'NaN'",
        ),
        (["--top-p", "-inf"], "It must be a finite number"),
        (["--guidance-scale-end", "1e39"], "It must be a finite number"),
        (["--guidance-scale", "much"], "It must be a finite number"),
        (["--keep-fraction", "nan"], "Received: 'nan'"),
        (["--keep-fraction", "1.01"], "It must be a number from 0 to 1"),
        (["--seed", "2.5"], "or `random`. Received: '2.5'"),
        (["--seed", str(2**63)], "A seed is an integer from -9223372036854775808"),
        (["--num-images", str(10**12)], "'--num-images'"),
        (["-o", ""], "-o needs a name: FILE, FOLDER/, or ./"),
        (["-5 degrees"], 'keras-dalle generate -- "-5 degrees"'),
    ],
)
def test_options_of_no_use_are_refused_at_once(words, message):
    result = run_command("generate", "x", *words)
    assert result.exit_code == 2, result.output
    assert message in result.stderr and "Loading" not in result.stderr


@pytest.mark.parametrize(
    "address", ["", "host", "127.0.0.1:70000", "127.0.0.1:0", "http://host:8501", "h:x"]
)
def test_addresses_that_are_none(address):
    result = run_command("client", address, "x")
    assert result.exit_code == 2, result.output
    assert "A server's address is HOST:PORT, such as 127.0.0.1:8500" in result.stderr


@pytest.mark.parametrize(
    "files, message",
    [
        (["encoder.pt", "decoder.pt"], "a checkpoint (min-dalle). Convert it"),
        (["checkpoints/last.ckpt", "model.yaml"], "(taming-transformers VQGAN)"),
        (["detoker.pt"], "convert MODEL --vqgan 'my model' --to PRESET"),
        (["notes.txt"], "The folder my model is no preset: it has no config.json"),
    ],
)
def test_other_projects_folders_are_named(tmp_path, monkeypatch, files, message):
    monkeypatch.chdir(tmp_path)
    for name in files:
        path = tmp_path / "my model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for words in (["generate", "x", "--preset", "my model"], ["evaluate", "my model"]):
        assert message in refusal(run_command(*words))


def test_presets_that_are_no_folders(tmp_path):
    (tmp_path / "model.keras").touch()
    message = refusal(
        run_command("generate", "x", "--preset", tmp_path / "model.keras")
    )
    assert "A preset is a folder. Received: the file" in message
    message = refusal(run_command("generate", "x", "--preset", "x" * 5000))
    assert "Unknown preset: xxx" in message and len(message) < 1500


@pytest.mark.parametrize("word", ["random", "-1", "Random"])
def test_a_seed_by_chance_is_printed(tmp_path, monkeypatch, word):
    from keras_dalle.commands import generate

    monkeypatch.setattr(generate, "load_task", lambda *_: DrawingTask())
    seeds = []
    for name in ("a.png", "b.png"):
        words = ["x", "--seed", word, "-o", tmp_path / name, "--num-images", 2]
        result = drawn(run_command("generate", *words))
        first, second = read_metadata(tmp_path / name).pictures
        seeds.append(first.parameters["seed"])
        assert f"--seed {seeds[-1]}\n" in result.stderr
        assert second.parameters["seed"] == seeds[-1] + 1
    assert seeds[0] != seeds[1] and min(seeds) >= 0


def command(redirection):
    return subprocess.run(
        ["bash", "-c", f'"$0" -m keras_dalle.cli --help {redirection}', sys.executable],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    "redirection", ["| true", ">&-", ">&- 2>&- <&-", "| head -1 > /dev/null"]
)
def test_nobody_reads_what_is_printed(redirection):
    result = command(redirection)
    assert result.returncode == 0 and result.stderr == "" == result.stdout
