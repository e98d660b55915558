"""What dead processes left is removed, and what living ones write stays."""

import errno
import fcntl
import multiprocessing
import os
import signal

import pytest

from keras_dalle.utils import staging
from keras_dalle.utils.atomic import atomic_directory, atomic_file
from keras_dalle.utils.staging import LOCK_FILE, staging_folder


def die_writing(path):
    with atomic_directory(path) as partial:
        (partial / "sub").mkdir()
        (partial / "sub" / "file").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_left_is_removed(tmp_path):
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=die_writing, args=(tmp_path / "a",))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert (left / "new" / "a" / "sub" / "file").read_bytes() == b"half"
    with atomic_file(tmp_path / "b") as file:
        file.write(b"whole")
    assert os.listdir(tmp_path) == ["b"]


def test_a_living_writer_s_folder_stays(tmp_path):
    with staging_folder(tmp_path) as first:
        (first / "file").touch()
        with staging_folder(tmp_path) as second:
            assert first != second
        assert (first / "file").exists() and not second.exists()
    assert os.listdir(tmp_path) == []


def test_a_folder_that_was_never_locked_is_removed_if_empty(tmp_path):
    for name in ("empty", "full", "other"):
        (tmp_path / f"{staging.PREFIX}{name}").mkdir()
    (tmp_path / f"{staging.PREFIX}full" / "file").touch()
    with staging_folder(tmp_path):
        pass
    assert os.listdir(tmp_path) == [f"{staging.PREFIX}full"]


def test_links_are_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    for name in (LOCK_FILE, "file"):
        (precious / name).touch()
    (tmp_path / f"{staging.PREFIX}a").symlink_to(precious)
    (tmp_path / f"{staging.PREFIX}b").mkdir()
    (tmp_path / f"{staging.PREFIX}b" / LOCK_FILE).symlink_to(precious / LOCK_FILE)
    with staging_folder(tmp_path) as own:
        (own / "link").symlink_to(precious)
    assert sorted(os.listdir(precious)) == ["file", LOCK_FILE]


def test_the_lock_goes_last(tmp_path, monkeypatch):
    """A kill between two removals leaves a folder that the next process removes."""
    removed = []
    for function in ("unlink", "rmdir"):
        whole = getattr(os, function)

        def noting(path, *args, whole=whole, **options):
            removed.append(os.path.basename(path))
            return whole(path, *args, **options)

        monkeypatch.setattr(os, function, noting)
    with staging_folder(tmp_path) as own:
        for name in ("a", "z"):
            (own / name).touch()
        (own / "folder").mkdir()
        (own / "folder" / "file").touch()
    assert removed[-2:] == [LOCK_FILE, own.name]
    assert sorted(removed[:-2]) == ["a", "file", "folder", "z"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_nothing_is_removed_but_files_are_written(
    tmp_path, monkeypatch, number
):
    """As on some network file systems, of which none is at hand."""

    def flock(descriptor, operation):
        raise OSError(number, os.strerror(number))

    left = tmp_path / f"{staging.PREFIX}left"
    left.mkdir()
    (left / LOCK_FILE).touch()
    monkeypatch.setattr(fcntl, "flock", flock)
    with atomic_file(tmp_path / "x") as file:
        file.write(b"whole")
    assert sorted(os.listdir(tmp_path)) == [left.name, "x"]
