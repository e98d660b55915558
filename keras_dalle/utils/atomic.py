"""Outputs that appear whole or not at all."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from keras_dalle.utils.full_disks import telling_of_full_disk
from keras_dalle.utils.staging import staging_folder
from keras_dalle.utils.writable import (
    check_file_place,
    check_folder_place,
    existing_parent,
    followed,
)


@contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A file to write to that gets its name when the block ends without an error.

    Args:
        path: see `atomic_path`.
    """
    with atomic_path(path) as partial, partial.open("wb") as file:
        yield file


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a file in UTF-8, whole or not at all; see `atomic_path` for `path`."""
    with atomic_file(path) as file:
        file.write(text.encode())


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a path to write a file to, for writers that open files themselves.

    Args:
        path: the file's final name; missing folders are made. An existing file is
            replaced and keeps its mode. A symbolic link stays; its target is replaced.

    Raises:
        OSError: there cannot be such a file, or it cannot be written; the message
            names `path`.
    """
    check_file_place(path)
    with _staged(path) as (partial, target):
        yield partial
        _move(partial, target)


@contextmanager
def atomic_directory(path: str | os.PathLike) -> Iterator[Path]:
    """An empty folder that gets its name when the block ends without an error.

    Args:
        path: the folder's name afterwards; missing folders are made.

    Raises:
        FileExistsError: there is something of that name already.
        OSError: there cannot be such a folder, or something in it cannot be written;
            the message names `path`.
    """
    refuse_existing(followed(path))
    check_folder_place(path)
    with _staged(path) as (partial, target):
        partial.mkdir()
        yield partial
        refuse_existing(target)
        try:
            _move(partial, target)
        except OSError:
            refuse_existing(target)  # It may have appeared meanwhile.
            raise


@contextmanager
def replaced_directory(path: str | os.PathLike) -> Iterator[Path]:
    """Works as `atomic_directory`, but a whole new folder replaces an existing one.

    Args:
        path: the folder's name afterwards.
    """
    check_folder_place(path)
    with _staged(path) as (partial, target):
        partial.mkdir()
        yield partial
        _sync(partial)
        old = partial.parents[1] / "old"
        if target.exists():
            target.rename(old)
        try:
            _move(partial, target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise


def refuse_existing(path: str | os.PathLike) -> None:
    """Raises FileExistsError if there is something of that name already."""
    if os.path.lexists(path):
        raise FileExistsError(
            f"{os.fspath(path)} exists already. Name a folder that does not exist yet."
        )


@contextmanager
def _staged(path: str | os.PathLike) -> Iterator[tuple[Path, Path]]:
    """Yields a path on the file system of `path`, and the path that it is moved to."""
    target = followed(path)
    with (
        telling_of_full_disk(path),
        staging_folder(existing_parent(target)) as staging,
    ):
        # One folder deeper: the staging folder itself is closed to other users.
        partial = staging / "new" / target.name
        partial.parent.mkdir()
        with _naming(path, partial):
            yield partial, target


def _move(partial: Path, target: Path) -> None:
    """Renames a whole output to its final name, after it has reached the disk."""
    _sync(partial)
    if target.is_file():
        os.chmod(partial, stat.S_IMODE(target.stat().st_mode))
    known = existing_parent(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(partial, target)
    for folder in {known, target.parent}:
        _sync_one(folder)


def _sync(path: Path) -> None:
    if path.is_dir():
        for folder, _, files in os.walk(path):
            for name in files:
                _sync_one(Path(folder, name))
            _sync_one(Path(folder))
    else:
        _sync_one(path)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems do not synchronize folders.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


@contextmanager
def _naming(path: str | os.PathLike, partial: Path) -> Iterator[None]:
    """Puts the user's path into errors in place of the temporary one."""

    def named(text: str | bytes) -> str:
        return os.fsdecode(text).replace(str(partial), os.fspath(path))

    try:
        yield
    except OSError as error:
        if str(partial) not in str(error):
            raise
        if error.errno is None:
            raise OSError(named(str(error))) from error
        raise OSError(error.errno, error.strerror, named(error.filename)) from error
