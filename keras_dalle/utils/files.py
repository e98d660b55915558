"""Reading files that come from outside."""

import json
import os
from pathlib import Path
from typing import Any


def require_files(directory: str | os.PathLike, names: list[str], kind: str) -> None:
    """Raises FileNotFoundError unless a folder of some kind holds all files."""
    missing = [name for name in names if not (Path(directory) / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"A {kind} folder must hold {' and '.join(names)}. Missing: "
            f"{', '.join(missing)} in {os.fspath(directory)}."
        )


def read_json(path: str | os.PathLike) -> Any:
    """The content of a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON in UTF-8; the message names the file.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{os.fspath(path)} is not valid JSON ({error}). Copy or download it again."
        ) from error
