"""Image tokens in files: JSON, or NumPy's format for one array."""

# T image tokens

import json
import os
import tokenize
from pathlib import Path

import numpy as np

from keras_dalle.utils.atomic import atomic_file
from keras_dalle.utils.files import read_json, require_regular_file
from keras_dalle.utils.foreign_values import described

SUFFIXES = (".json", ".npy")
# What NumPy raises on damaged files.
_DAMAGE = (ValueError, EOFError, SyntaxError, OverflowError, tokenize.TokenError)


def check_token_file(path: str | os.PathLike) -> None:
    """Raises ValueError unless a file's ending names a format of tokens."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"A file of image tokens must end in {' or '.join(SUFFIXES)}. Received: "
            f"{os.fspath(path)}"
        )


def save_tokens(tokens_T: np.ndarray, path: str | os.PathLike) -> Path:
    """Writes image tokens, whole or not at all.

    Args:
        tokens_T: int [T].
        path: ends in .json, for a list of numbers, or .npy, for int32; missing folders
            are made.
    """
    check_token_file(path)
    with atomic_file(path) as file:
        if Path(path).suffix.lower() == ".json":
            file.write(json.dumps(tokens_T.tolist()).encode() + b"\n")
        else:
            np.save(file, tokens_T.astype(np.int32), allow_pickle=False)
    return Path(path)


def read_tokens(path: str | os.PathLike) -> np.ndarray:
    """Image tokens of a file that comes from anywhere: nothing in it is run.

    Returns:
        int64 [T].

    Raises:
        OSError: there is no such file.
        ValueError: it holds no list of whole numbers.
    """
    check_token_file(path)
    is_json = Path(path).suffix.lower() == ".json"
    tokens = _read_json(path) if is_json else _read_npy(path)
    if tokens is None or tokens.ndim != 1 or not len(tokens):
        raise ValueError(
            f"{os.fspath(path)} must hold one list of image tokens: whole numbers, as "
            "`keras-dalle encode` writes them."
        )
    return tokens.astype(np.int64)


def _read_json(path):
    values = read_json(path)
    if not isinstance(values, list) or any(type(value) is not int for value in values):
        return None
    if any(abs(value) >= 2**31 for value in values):
        return None
    return np.array(values)


def _read_npy(path):
    require_regular_file(path)
    try:
        # Refuses pickles, and headers that promise more than there is.
        tokens = np.lib.format.open_memmap(path, mode="r")
    except _DAMAGE as error:
        raise ValueError(
            f"{os.fspath(path)} is not one array of numbers in NumPy's format: "
            f"{described(error)}"
        ) from error
    return np.array(tokens) if np.issubdtype(tokens.dtype, np.integer) else None
