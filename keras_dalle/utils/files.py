"""Reading files that come from outside."""

import json
import os
import stat
from pathlib import Path
from typing import Any

from keras_dalle.utils.foreign_values import described

# The largest that is published, a tokenizer.json, has 4 MB.
MAX_TEXT_BYTES = 2**26

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def require_files(directory: str | os.PathLike, names: list[str], kind: str) -> None:
    """Raises unless a folder of some kind holds all files.

    Raises:
        FileNotFoundError: one is missing.
        ValueError: one is a pipe, a socket, a device or a folder.
    """
    missing = [name for name in names if not os.path.exists(Path(directory) / name)]
    if missing:
        raise FileNotFoundError(
            f"A {kind} folder must hold {_listed(names, ' and ')}. Missing: "
            f"{_listed(missing, ', ')} in {os.fspath(directory)}."
        )
    for name in names:
        require_regular_file(Path(directory) / name)


def _listed(names: list[str], separator: str, most: int = 8) -> str:
    more = [] if len(names) <= most else [f"{len(names) - most} more"]
    return separator.join([*names[:most], *more])


def require_regular_file(path: str | os.PathLike) -> None:
    """Raises unless a path leads to a file on a disk: a pipe or device may never end.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a pipe, a socket, a device or a folder.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise ValueError(
            f"{os.fspath(path)} must be a regular file. Received: {kind}. Put the "
            "file itself there."
        )


def read_limited_text(path: str | os.PathLike, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Reads the text of a file, or of a pipe that ends, in UTF-8.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is larger than such a file can be, or not UTF-8; the message
            names the file.
    """
    with open(path, "rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(
            f"{os.fspath(path)} must have at most {max_bytes} bytes. Received: more. "
            "Check that it is the file that you mean."
        )
    try:
        return content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{os.fspath(path)} must be text in UTF-8. Received: {described(error)}. "
            "Copy or download it again."
        ) from error


def read_json(path: str | os.PathLike) -> Any:
    """The content of a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no regular file, not JSON in UTF-8, nested too deeply or too
            large; the message names the file.
    """
    require_regular_file(path)
    text = read_limited_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError(
            f"{os.fspath(path)} is not valid JSON ({described(error)}). Copy or "
            "download it again."
        ) from error
