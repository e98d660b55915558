"""The command line, run within the test's process."""

from click.testing import Result
from typer.testing import CliRunner

from keras_dalle.cli import app


def run_command(*words) -> Result:
    """Runs `keras-dalle` with these words.

    In a terminal of 500 columns: in 80, the runner's own, messages would be broken.
    """
    return CliRunner().invoke(app, [str(x) for x in words], env={"COLUMNS": "500"})


def drawn(result: Result) -> Result:
    """The result of a command that succeeds."""
    assert result.exit_code == 0, result.output
    return result


def refusal(result: Result) -> str:
    """What a command says that refuses its input."""
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return result.stderr
