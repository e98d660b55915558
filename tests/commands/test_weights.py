"""`--weights`: narrow weights on the command line."""

import pytest
import tensorflow as tf

from keras_dalle.utils.picture_files import read_metadata
from tests.commands.command_line import run_command


@pytest.fixture
def preset(tiny):
    return tiny.folder


def test_a_picture_knows_the_width_of_the_weights_that_drew_it(preset, tmp_path):
    pictures = {}
    for weights in ("float32", "bfloat16"):
        pictures[weights] = tmp_path / f"{weights}.png"
        options = ["--preset", preset, "--weights", weights]
        result = run_command("generate", "a cat", "-o", pictures[weights], *options)
        assert result.exit_code == 0, result.output
    wide, narrow = (read_metadata(path).preset for path in pictures.values())
    assert wide.name == narrow.name
    assert wide.sha256 != narrow.sha256
    options = ["--preset", preset, "--weights", "bfloat16"]
    again = run_command("reproduce", pictures["bfloat16"], *options)
    assert again.exit_code == 0, again.output
    assert "another model" not in again.output
    assert (
        "another model"
        in run_command("reproduce", pictures["float32"], *options).output
    )


def test_export_writes_narrow_weights(preset, tmp_path):
    result = run_command("export", preset, tmp_path / "served", "--weights", "int8")
    assert result.exit_code == 0, result.output
    variables = tmp_path / "served" / "1" / "variables" / "variables"
    dtypes = tf.train.load_checkpoint(str(variables)).get_variable_to_dtype_map()
    assert tf.uint8 in dtypes.values()


def test_unknown_weights_are_refused(preset, tmp_path):
    result = run_command("generate", "a cat", "--preset", preset, "--weights", "int4")
    assert result.exit_code == 2
    assert "'float32', 'bfloat16', 'int8'" in result.output
