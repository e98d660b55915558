"""Folders for unfinished outputs. Those of dead processes are removed later."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = ".partial-"
LOCK_FILE = "lock"


@contextlib.contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """Makes a folder of its own in `parent`, which is removed at the end of the block.

    It has a dot-name, which servers that poll for integer names do not see. Folders of
    dead processes are removed: a living process holds a lock on its own folder.

    Args:
        parent: an existing folder.
    """
    _remove_abandoned(parent)
    staging, lock = _locked_folder(parent)
    try:
        yield staging
    finally:
        # The next process removes what cannot be removed now.
        with contextlib.suppress(OSError):
            _remove(staging)
        os.close(lock)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    """Makes a folder and its lock. Closing it, or the process's end, releases it."""
    while True:
        staging = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        # Another process may remove the folder before it is locked.
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(staging / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
            if _is_locked_by(lock) and (staging / LOCK_FILE).exists():
                return staging, lock
            os.close(lock)


def _is_locked_by(descriptor: int) -> bool:
    """Locks the file, unless another process has done so.

    A file system without locks counts as locked. Nobody can lock a file there again,
    so no process removes another's folder.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _remove_abandoned(parent: Path) -> None:
    """Removes the folders of dead processes. A folder in doubt stays."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                _remove_if_abandoned(Path(entry.path))


def _remove_if_abandoned(staging: Path) -> None:
    with contextlib.suppress(OSError):
        staging.rmdir()  # Its process was killed before it locked, or after.
    with contextlib.suppress(OSError):
        lock = os.open(staging / LOCK_FILE, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(staging)
        finally:
            os.close(lock)


def _remove(staging: Path) -> None:
    """Removes the lock last: a folder with files and no lock would stay for ever."""
    with os.scandir(staging) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            elif entry.name != LOCK_FILE:
                os.unlink(entry.path)
    (staging / LOCK_FILE).unlink()
    staging.rmdir()
