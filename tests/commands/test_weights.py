"""`--weights`: narrow weights on the command line."""

import pytest
import tensorflow as tf
from typer.testing import CliRunner

from keras_dalle.cli import app
from keras_dalle.utils.picture_files import read_metadata
from tests.tiny_preset import tiny_task


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_task().save_to_preset(str(folder))
    return folder


def run(*arguments):
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(app, words, env={"COLUMNS": "500"})


def test_a_picture_knows_the_width_of_the_weights_that_drew_it(preset, tmp_path):
    pictures = {}
    for weights in ("float32", "bfloat16"):
        pictures[weights] = tmp_path / f"{weights}.png"
        options = ["--preset", preset, "--weights", weights]
        result = run("generate", "a cat", "-o", pictures[weights], *options)
        assert result.exit_code == 0, result.output
    wide, narrow = (read_metadata(path).preset for path in pictures.values())
    assert wide.name == narrow.name
    assert wide.sha256 != narrow.sha256
    options = ["--preset", preset, "--weights", "bfloat16"]
    again = run("reproduce", pictures["bfloat16"], *options)
    assert again.exit_code == 0, again.output
    assert "another model" not in again.output
    assert "another model" in run("reproduce", pictures["float32"], *options).output


def test_export_writes_narrow_weights(preset, tmp_path):
    result = run("export", preset, tmp_path / "served", "--weights", "int8")
    assert result.exit_code == 0, result.output
    variables = tmp_path / "served" / "1" / "variables" / "variables"
    dtypes = tf.train.load_checkpoint(str(variables)).get_variable_to_dtype_map()
    assert tf.uint8 in dtypes.values()


def test_unknown_weights_are_refused(preset, tmp_path):
    result = run("generate", "a cat", "--preset", preset, "--weights", "int4")
    assert result.exit_code == 2
    assert "'float32', 'bfloat16', 'int8'" in result.output
