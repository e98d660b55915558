"""Version folders under a model's base path, named as TF Serving names them."""

import errno
import os
from pathlib import Path

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
