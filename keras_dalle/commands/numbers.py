"""Numbers on the command line: seeds, and floats that are finite."""

import math
import secrets

import typer

from keras_dalle.commands.progress import console
from keras_dalle.utils.foreign_values import shortened

RANDOM = ("-1", "random")
# Short enough to type again.
_RANDOM_SEEDS = 2**31
_LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127


def seed(text: str | int) -> int:
    """Reads a seed of 64 bits. For a word in `RANDOM` it draws one and prints it.

    Raises:
        typer.BadParameter: it is not such a number.
    """
    if str(text).strip().lower() in RANDOM:
        drawn = secrets.randbelow(_RANDOM_SEEDS)
        console.print(f"--seed {drawn}")
        return drawn
    try:
        number = int(text)
    except ValueError:
        number = 2**63
    if not -(2**63) <= number < 2**63:
        raise typer.BadParameter(
            f"A seed is an integer from {-(2**63)} to {2**63 - 1}, or `random`. "
            f"Received: {shortened(text)}"
        )
    return number


def finite(text: str | float) -> float:
    """Reads a number that is finite in 32 bits.

    Raises:
        typer.BadParameter: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not abs(number) <= _LARGEST_FLOAT32:
        raise typer.BadParameter(
            f"It must be a finite number, as 1.5. Received: {shortened(text)}"
        )
    return number


def share(text: str | float) -> float:
    """Reads a number from 0 to 1.

    Raises:
        typer.BadParameter: it is none.
    """
    number = finite(text)
    if not 0.0 <= number <= 1.0:
        raise typer.BadParameter(
            f"It must be a number from 0 to 1, as 0.5. Received: {shortened(text)}"
        )
    return number
