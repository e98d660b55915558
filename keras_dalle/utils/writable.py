"""Checks of the places of outputs, before anything is drawn."""

import os
from pathlib import Path


def check_file_place(path: str | os.PathLike) -> None:
    """Raises unless a file can be written, or written anew, at `path`.

    Raises:
        OSError: it is a folder, a FIFO or a device, its folder is none, or there is no
            permission. The message names `path`.
    """
    target = followed(path)
    if os.path.lexists(target) and not target.is_file():
        raise OSError(
            f"{os.fspath(path)} must be an ordinary file, or not exist yet. Received: "
            f"{_kind(target)}. Name another file."
        )
    # A whole file is moved into its folder, also over an existing file.
    _check_parent(target, path)
    if target.exists():
        _check_permission(target, path)


def check_folder_place(path: str | os.PathLike) -> None:
    """Raises unless files can be written into the folder `path`, which may be missing.

    Raises:
        OSError: it is a file, its own folder is none, or there is no permission. The
            message names `path`.
    """
    target = followed(path)
    if os.path.lexists(target) and not target.is_dir():
        raise NotADirectoryError(
            f"{os.fspath(path)} must be a folder, or not exist yet. Received: "
            f"{_kind(target)}. Name another folder."
        )
    if target.is_dir():
        _check_permission(target, path)
    else:
        _check_parent(target, path)


def followed(path: str | os.PathLike) -> Path:
    """Returns the path that symbolic links at the end of `path` lead to."""
    return Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)


def existing_parent(path: Path) -> Path:
    """Returns the nearest folder above `path` that exists."""
    parent = path.absolute().parent
    while not os.path.lexists(parent):
        parent = parent.parent
    return parent


def _check_parent(target: Path, path: str | os.PathLike) -> None:
    parent = existing_parent(target)
    if not parent.is_dir():
        raise NotADirectoryError(
            f"{os.fspath(path)} must lie in a folder. Received: {parent}, which is "
            f"{_kind(parent)}. Name another place."
        )
    _check_permission(parent, path)


def _check_permission(target: Path, path: str | os.PathLike) -> None:
    is_folder = target.is_dir()
    mode = os.W_OK | os.X_OK if is_folder else os.W_OK
    if not os.access(target, mode):
        raise PermissionError(
            f"{os.fspath(path)} cannot be written: there is no permission to write "
            f"{'into the folder' if is_folder else 'the file'} {target}. Change its "
            "permissions, or write elsewhere."
        )


def _kind(path: Path) -> str:
    kinds = {
        "a symbolic link that leads nowhere": path.is_symlink(),
        "a folder": path.is_dir(),
        "a file": path.is_file(),
        "a FIFO": path.is_fifo(),
        "a socket": path.is_socket(),
    }
    return next((kind for kind, holds in kinds.items() if holds), "a device")
