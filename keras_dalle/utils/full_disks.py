"""One error for a full disk, whatever library writes."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

# No space, no quota, and the limit on a file's size.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ADVICE = "Free some space there, or write elsewhere."


@contextmanager
def telling_of_full_disk(
    path: str | os.PathLike, advice: str = ADVICE
) -> Iterator[None]:
    """Turns every error about a full disk into one OSError that names `path`.

    Python's own error has a number. TensorFlow's and HDF5's have the operating system's
    words in their text.

    Args:
        path: the file or folder to write.
        advice: the remedy for the user.
    """
    try:
        yield
    except Exception as error:
        number = _number_of(error)
        if number is None:
            raise
        raise OSError(
            f"There is no room to write {os.fspath(path)}: {os.strerror(number)}. "
            f"{advice}"
        ) from error


def _number_of(error: Exception) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in NO_ROOM else None
    is_writer = isinstance(error, OSError) or type(error).__module__.startswith(
        "tensorflow."
    )
    text = str(error) if is_writer else ""
    return next((number for number in NO_ROOM if os.strerror(number) in text), None)
