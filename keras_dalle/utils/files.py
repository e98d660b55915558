"""Reading files that come from outside."""

import json
import os
from pathlib import Path
from typing import Any

# The largest that is published, a tokenizer.json, has 4 MB.
MAX_TEXT_BYTES = 2**26


def require_files(directory: str | os.PathLike, names: list[str], kind: str) -> None:
    """Raises FileNotFoundError unless a folder of some kind holds all files."""
    missing = [name for name in names if not (Path(directory) / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"A {kind} folder must hold {' and '.join(names)}. Missing: "
            f"{', '.join(missing)} in {os.fspath(directory)}."
        )


def read_limited_text(path: str | os.PathLike) -> str:
    """The text of a file of settings or of a vocabulary, in UTF-8.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is larger than such a file can be, or not UTF-8.
    """
    size = Path(path).stat().st_size
    if size > MAX_TEXT_BYTES:
        raise ValueError(
            f"{os.fspath(path)} must have at most {MAX_TEXT_BYTES} bytes. Received: "
            f"{size}."
        )
    return Path(path).read_text(encoding="utf-8")


def read_json(path: str | os.PathLike) -> Any:
    """The content of a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON in UTF-8, or too large; the message names the file.
    """
    try:
        return json.loads(read_limited_text(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{os.fspath(path)} is not valid JSON ({error}). Copy or download it again."
        ) from error
