"""Version folders under a model's base path, named as TF Serving names them."""

import errno
import os
from pathlib import Path

from keras_dalle.utils.writable import check_folder_place

# A server reads a folder's name as an int64, and takes a larger one for no version.
MAX_VERSION = 2**63 - 1


def parse_version(name: str) -> int | None:
    """The version a folder name stands for (`00000123` is 123), None for others."""
    version = int(name) if name.isascii() and name.isdecimal() else None
    return None if version is None or version > MAX_VERSION else version


def list_versions(base_path: str | Path) -> dict[int, Path]:
    """Version folders under `base_path`, lowest version first.

    Raises:
        OSError: `base_path` cannot be listed.
    """
    if "\0" in str(base_path):
        # Python raises a `ValueError`.
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(base_path))
    versions = {}
    for child in Path(base_path).iterdir():
        version = parse_version(child.name)
        if version is not None and child.is_dir():
            versions[version] = child
    return dict(sorted(versions.items()))


def free_version(directory: str | Path, version: int | None) -> int:
    """Returns the version to export: the given one, or the next free one.

    Args:
        directory: see `export_saved_model`.
        version: see `export_saved_model`.

    Raises:
        OSError: the folder cannot be written, or has the version.
        ValueError: the version is out of range.
    """
    directory = Path(directory)
    check_folder_place(directory)
    present = list_versions(directory) if directory.exists() else {}
    if version is None:
        version = max(present, default=0) + 1
    if not 0 <= version <= MAX_VERSION:
        raise ValueError(
            f"`version` must be from 0 to {MAX_VERSION}, the largest of an int64. "
            f"Received: {version}. Give another."
        )
    if version in present:
        raise FileExistsError(
            f"A version is never overwritten, and {present[version]} exists. Choose "
            "another `version`, or leave it out for the next free one."
        )
    if (directory / str(version)).exists():
        raise FileExistsError(
            f"A version is a folder. Received: the file {directory / str(version)}. "
            "Move it, or choose another `version`."
        )
    return version
