"""Blocks of a test with fewer rights, or with a disk that is soon full."""

import os
import resource
import tempfile
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def read_only_folder(*names):
    """A folder with some files that only root could write to; nobody is root here."""
    with tempfile.TemporaryDirectory() as path:
        for name in names:
            Path(path, name).touch(mode=0o444)
        os.chmod(path, 0o555)
        users = os.getresuid()
        if users[1] == 0:
            # `os.access` asks for the real user.
            os.setresuid(NOBODY, NOBODY, 0)
        try:
            yield Path(path)
        finally:
            os.setresuid(*users)
            os.chmod(path, 0o755)


@contextmanager
def file_limit(count):
    """No file of this process can grow beyond `count` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
