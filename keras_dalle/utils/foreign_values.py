"""Values from outside, as error texts show them."""

import os
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MAX_CHARACTERS = 200


def shortened(value: Any) -> str:
    """Returns the repr of a value from outside, at most `MAX_CHARACTERS` long.

    The work is bounded too: containers are read a few levels deep and a few entries
    wide, so that a small file of nested aliases or a huge number costs nothing.
    """
    text = _SHORT.repr(value)
    if len(text) <= MAX_CHARACTERS:
        return text
    return text[: MAX_CHARACTERS - 3] + "..."


def described(error: BaseException) -> str:
    """Returns a library's text about a fault, on one line of bounded length.

    A library's text may hold all of the file that it complains about.
    """
    text = one_line(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Puts the file in front of a ValueError about its content.

    Errors for content of another type, such as a list in place of an object, also
    become a ValueError.
    """
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error
    except (TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise ValueError(
            f"{os.fspath(path)} must hold values of the kinds that belong there. "
            f"Received: {described(error)}. Take the file anew from where it was "
            "published."
        ) from error


def one_line(text: str) -> str:
    """Returns the beginning of a long text, its white space as single spaces."""
    most = 2 * MAX_CHARACTERS
    text = " ".join(text[: 2 * most].split())
    return text if len(text) <= most else text[: most - 3] + "..."


class _ShortRepr(reprlib.Repr):
    """A `reprlib.Repr` for wide strings, and for integers without a decimal text."""

    def __init__(self):
        super().__init__()
        self.maxlevel = 3
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = 6
        self.maxstring = self.maxother = 120

    def repr_int(self, x, level) -> str:
        # Python refuses to write more than 4,300 digits.
        if x.bit_length() > 256:
            return f"<integer of {x.bit_length()} bits>"
        return super().repr_int(x, level)


_SHORT = _ShortRepr()
