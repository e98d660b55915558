"""Errors of reading files reach the user as an error that names the files."""

import pytest
import tensorflow as tf

from keras_dalle.utils.file_errors import naming_files
from keras_dalle.utils.foreign_values import naming

CAUSES = [
    TypeError("an object of " + "many parts " * 10_000),
    MemoryError(),
    RecursionError("maximum recursion depth exceeded"),
    KeyError("a"),
    OverflowError("too large"),
    tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
]


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: type(cause).__name__)
def test_the_files_and_the_cause_are_named(cause):
    with (
        pytest.raises(
            ValueError, match=f"of some/folder.*Model.*{type(cause).__name__}"
        ) as e,
        naming_files("some/folder", "Model"),
    ):
        raise cause
    assert e.value.__cause__ is cause
    assert len(str(e.value)) < 1000


@pytest.mark.parametrize("cause", [ValueError("rule"), FileNotFoundError("none")])
def test_errors_that_say_what_is_wrong_pass(cause):
    with pytest.raises(type(cause)) as error, naming_files("some/folder", "Model"):
        raise cause
    assert error.value is cause


def test_a_rule_is_said_of_the_file_that_breaks_it():
    with (
        pytest.raises(ValueError, match=r"^a\.json: `x` must be 1\.$"),
        naming("a.json"),
    ):
        raise ValueError("`x` must be 1.")
    with (
        pytest.raises(ValueError, match=r"a\.json must hold.*TypeError"),
        naming("a.json"),
    ):
        len(3)
