"""Every command starts TensorFlow in one way, and without its own lines."""

import os
import re
import subprocess
import sys

import pytest

from keras_dalle.utils.tensorflow_start import DEFAULTS
from tests.toy_task import export_toy

# What TensorFlow and Abseil begin a line with.
LINES = re.compile(
    r"^(WARNING: All log messages|[IWEF]\d{4} |\d{4}-\d\d-\d\d \S+ [IWEF] )", re.M
)
# A device, oneDNN, and a session without MLIR's passes, as the server's.
START = """
import tensorflow as tf
tf.config.list_physical_devices()
with tf.Graph().as_default() as graph:
    x = tf.constant(1) + 1
tf.compat.v1.Session(graph=graph).run(x)
"""
PREPARED = f"""
from keras_dalle.utils.tensorflow_start import prepare_tensorflow
prepare_tensorflow()
{START}
"""
# `print` in place of the first import of TensorFlow.
REPORT = """
import os, runpy, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name in ("tensorflow", "keras"):
            print({name: os.environ.get(name) for name in %r})
            os._exit(0)
sys.meta_path.insert(0, Finder())
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def run(*words, **variables):
    """Runs Python without the variables of this process."""
    environment = {k: v for k, v in os.environ.items() if k not in DEFAULTS}
    return subprocess.run(
        [sys.executable, *map(str, words)],
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_line_of_tensorflow_is_shown():
    assert LINES.search(run("-c", START).stderr), "without preparation there are some"
    result = run("-c", PREPARED)
    assert (result.returncode, result.stderr) == (0, "")


def test_who_chooses_a_level_keeps_it():
    shown = run("-c", PREPARED, TF_CPP_MIN_LOG_LEVEL="0").stderr
    assert "MLIR V1 optimization pass" in shown and "oneDNN custom operations" in shown
    shown = run("-c", PREPARED, TF_CPP_MIN_LOG_LEVEL="1").stderr
    assert "MLIR" not in shown and "oneDNN" not in shown


@pytest.mark.parametrize(
    "words",
    [
        ["keras_dalle.cli", "generate", "red"],
        ["keras_dalle.cli", "train", "--recipe", "emoji_tiny"],
        ["keras_dalle.cli", "demo"],
        ["training.train", "--recipe", "emoji_tiny"],
        ["export.stock_server", "emoji_tiny", "out"],
        ["export.kserve", "emoji_tiny", "out", "--storage-uri", "gs://x"],
        [
            "export.vertex_ai",
            "emoji_tiny",
            "out",
            "--region",
            "x",
            "--artifact-uri",
            "x",
            "--image",
            "x",
        ],
    ],
    ids=" ".join,
)
def test_every_command_prepares_before_it_imports(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("-c", REPORT % list(DEFAULTS), *words)
    assert result.stdout == f"{DEFAULTS}\n", result.stderr


def test_a_server_shows_its_own_lines_alone(tmp_path):
    export_toy(tmp_path)
    words = ["-m", "keras_dalle.cli", "serve", tmp_path, "--port", "0"]
    environment = {k: v for k, v in os.environ.items() if k not in DEFAULTS}
    with subprocess.Popen(
        [sys.executable, *map(str, words), "--rest_api_port", "0"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline().startswith("Serving ")
        process.terminate()
        messages = process.stderr.read()
    assert "tensorflow_model_server" in messages
    assert not LINES.search(messages), messages
