"""Version folders that appear whole or not at all, whatever kills the exporter."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = ".export-"
LOCK_FILE = "lock"


@contextlib.contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A path to write a folder to, which becomes `target` at the end of the block.

    It lies in a folder with a dot-name beside `target`, which servers that poll for
    integer names do not see. What dead processes left of such folders is removed: a
    living one holds a lock on its own.

    Args:
        target: The folder's path afterwards; its parent exists.

    Raises:
        FileExistsError: At the end of the block `target` is there already.
    """
    for abandoned in target.parent.glob(f"{PREFIX}*"):
        _remove_if_abandoned(abandoned)
    staging, lock = _locked_folder(target.parent)
    try:
        # One folder deeper: mkdtemp's own is closed to other users.
        yield staging / target.name
        _publish(staging / target.name, target)
    finally:
        shutil.rmtree(staging)
        os.close(lock)


def _publish(path: Path, target: Path) -> None:
    try:
        path.rename(target)
    except OSError as error:
        if not target.is_dir():
            raise
        raise FileExistsError(
            f"A version is never overwritten, and {target} appeared meanwhile, by "
            "another export. Export again for the next free version."
        ) from error


def _locked_folder(directory: Path) -> tuple[Path, int]:
    """A new folder and its lock: to close that, or to die, releases it."""
    while True:
        staging = Path(tempfile.mkdtemp(prefix=PREFIX, dir=directory))
        # Another process may remove the folder before it is locked.
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            lock = _lock(staging, os.O_RDWR | os.O_CREAT)
            if (staging / LOCK_FILE).exists():
                return staging, lock
            os.close(lock)


def _remove_if_abandoned(staging: Path) -> None:
    """Leaves it alone where in doubt, as on a file system without locks."""
    with contextlib.suppress(OSError):
        staging.rmdir()  # Killed before there was a lock.
    with contextlib.suppress(OSError):
        lock = _lock(staging, os.O_RDWR)
        try:
            shutil.rmtree(staging)
        finally:
            os.close(lock)


def _lock(staging: Path, flags: int) -> int:
    descriptor = os.open(staging / LOCK_FILE, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
