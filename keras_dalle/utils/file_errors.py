"""Unforeseen errors of reading a user's files, as errors that name the files."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from keras_dalle.utils.foreign_values import described

_KINDS = (
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RecursionError,
)


@contextmanager
def naming_files(source: str | os.PathLike, result: str) -> Iterator[None]:
    """Turns errors of reading files into a ValueError that names the files.

    ValueError and OSError pass unchanged, since they name the fault.

    Args:
        source: the folder of the files.
        result: the object that was to be made from them.

    Raises:
        ValueError: another error was raised.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, _KINDS) and not _is_of_tensorflow(error):
            raise
        raise ValueError(
            f"The files of {os.fspath(source)}, with the arguments that are given, "
            f"make no {result}. {described(error)}. Take the files anew from where "
            "they were published, or use a machine with more memory if it is short of "
            "it."
        ) from error


def _is_of_tensorflow(error: Exception) -> bool:
    """Compares names, since this also runs without TensorFlow."""
    return any(each.__name__ == "OpError" for each in type(error).__mro__)
