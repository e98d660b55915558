"""Outputs that appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A file to write to that gets its name when the block ends without an error.

    Args:
        path: the file's name afterwards; an existing file is replaced.
    """
    path = Path(path)
    with _temporary_directory_for(path) as directory:
        partial = directory / path.name
        with partial.open("wb") as file:
            yield file
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial, path)


@contextmanager
def atomic_directory(path: str | os.PathLike) -> Iterator[Path]:
    """An empty folder that gets its name when the block ends without an error.

    Args:
        path: the folder's name afterwards.

    Raises:
        FileExistsError: there is something of that name already.
    """
    path = Path(path)
    refuse_existing(path)
    with _temporary_directory_for(path) as directory:
        partial = directory / path.name
        partial.mkdir()
        yield partial
        refuse_existing(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.rename(partial, path)


def refuse_existing(path: str | os.PathLike) -> None:
    """Raises FileExistsError if there is something of that name already."""
    if os.path.lexists(path):
        raise FileExistsError(
            f"{os.fspath(path)} exists already. Name a folder that does not exist yet."
        )


@contextmanager
def _temporary_directory_for(path: Path) -> Iterator[Path]:
    """A folder on the file system of `path`, in its nearest existing parent."""
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    directory = Path(tempfile.mkdtemp(prefix=".partial-", dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
