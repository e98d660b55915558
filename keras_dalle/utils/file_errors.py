"""What a user's files can cause that no check foresaw, as an error that names them."""

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

    Errors of the kinds that say what is wrong, ValueError and OSError, pass.

    Args:
        source: the files' folder.
        result: what was to come of them.

    Raises:
        ValueError: something was raised that is neither.
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
