"""Texts and numbers that a user gives: one of them, or one for each row.

Libraries silently convert other values: NumPy reads `True`, `"1"` and 1.5 as the
integer 1.
"""

# B rows

import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_dalle.utils.foreign_values import shortened


def texts(name: str, values: Any) -> np.ndarray:
    """Returns texts, `str` or `bytes`, as objects [] or [B].

    Args:
        name: of the values, for errors.
        values: one text or a list, array or tensor of texts.

    Raises:
        ValueError: it is something else.
    """
    found = _checked(name, values, "a text, or a list of texts", _is_text)
    for value in found.flat:
        try:
            _ = value if isinstance(value, bytes) else value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"`{name}` must be text that UTF-8 can hold. Received: "
                f"{shortened(value)}. Give bytes in its place."
            ) from error
    return found


def byte_strings(name: str, values: Any) -> np.ndarray:
    """Returns contents of files as objects [] or [B].

    Args:
        name: of the values, for errors.
        values: one `bytes` or a list or array of them.

    Raises:
        ValueError: it is something else.
    """
    return _checked(name, values, "bytes, or a list of bytes", _is_bytes)


def integers(name: str, values: Any, dtype: Any) -> np.ndarray:
    """Returns integers as an array [] or [B] of an integer type.

    Args:
        name: of the values, for errors.
        values: one integer or a list, array or tensor of integers.
        dtype: the result's integer type.

    Raises:
        ValueError: it is something else, or is too large for the type.
    """
    rule = "an integer, or a list of integers"
    found = _checked(name, values, rule, _is_integer)
    limits = np.iinfo(dtype)
    for value in found.flat:
        if not limits.min <= value <= limits.max:
            raise ValueError(
                f"`{name}` must fit {np.dtype(dtype).name}. Received: "
                f"{shortened(value)}."
            )
    return found.astype(dtype)


def reals(name: str, values: Any) -> np.ndarray:
    """Returns numbers as float64 [] or [B]; infinities and NaN are allowed.

    Args:
        name: of the values, for errors.
        values: one number or a list, array or tensor of numbers.

    Raises:
        ValueError: it is something else.
    """
    found = _checked(name, values, "a number, or a list of numbers", _is_real)
    try:
        return found.astype(np.float64)
    except OverflowError as error:
        raise ValueError(
            f"`{name}` must fit float64. Received: {shortened(values)}."
        ) from error


def count(name: str, value: Any, at_least: int = 1) -> int:
    """Returns one integer, not below a minimum.

    Args:
        name: of the value, for errors.
        value: the integer.
        at_least: the smallest allowed value.

    Raises:
        ValueError: it is no integer, or is smaller.
    """
    (value,) = _as_objects(value).flat if np.ndim(value) == 0 else (value,)
    if not _is_integer(value) or value < at_least:
        raise ValueError(
            f"`{name}` must be an integer of at least {at_least}. Received: "
            f"{_shown(value)}."
        )
    return int(value)


def _checked(
    name: str, values: Any, rule: str, is_one: Callable[[Any], bool]
) -> np.ndarray:
    found = _as_objects(values)
    if found.ndim > 1:
        raise ValueError(
            f"`{name}` must be {rule}. Received: an array of shape {list(found.shape)}."
        )
    for value in found.flat:
        if not is_one(value):
            raise ValueError(f"`{name}` must be {rule}. Received: {_shown(value)}.")
    return found


def _as_objects(values: Any) -> np.ndarray:
    """Returns the Python values as an array; it takes only lists and arrays apart."""
    if isinstance(values, list | tuple):
        found = np.empty(len(values), object)
        for place, value in enumerate(values):
            found[place] = _scalar(value)
        return found
    if hasattr(values, "__array__"):
        return np.asarray(_scalar(values)).astype(object)
    found = np.empty((), object)
    found[()] = values
    return found


def _scalar(value: Any) -> Any:
    """Returns the value in an array without axes, in the array's own type."""
    if isinstance(value, np.generic) or not hasattr(value, "__array__"):
        return value
    array = np.asarray(value)
    return array[()] if array.ndim == 0 else array


def _is_text(value: Any) -> bool:
    return isinstance(value, str | bytes)


def _is_bytes(value: Any) -> bool:
    return isinstance(value, bytes)


def _is_integer(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    if value is None:
        return "None"
    return f"{shortened(value)} ({type(value).__name__})"
