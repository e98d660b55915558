"""Outputs that appear whole or not at all."""

import os
import stat

import pytest

from keras_dalle.utils.atomic import (
    atomic_directory,
    atomic_file,
    atomic_path,
    replaced_directory,
)
from tests.limits import file_limit, read_only_folder


def write(path, content=b"new"):
    with atomic_file(path) as file:
        file.write(content)


def test_file_is_replaced_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "x"
    for content in (b"first", b"second"):
        write(path, content)
        assert path.read_bytes() == content
    with pytest.raises(RuntimeError), atomic_file(path) as file:
        file.write(b"third")
        raise RuntimeError
    assert path.read_bytes() == b"second"
    assert list(tmp_path.rglob("*")) == [path.parent, path]


def test_directory_appears_at_the_end(tmp_path):
    path = tmp_path / "new" / "x"
    with atomic_directory(path) as partial:
        (partial / "file").write_bytes(b"content")
        assert not path.parent.exists()
    assert (path / "file").read_bytes() == b"content"
    assert path.stat().st_mode & 0o777 == path.parent.stat().st_mode & 0o777
    assert list(tmp_path.iterdir()) == [path.parent]


def test_failure_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), atomic_directory(tmp_path / "new" / "x"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_existing_directory_is_refused(tmp_path):
    with (
        pytest.raises(FileExistsError, match="exists already"),
        atomic_directory(tmp_path),
    ):
        raise AssertionError


def test_directory_that_appears_meanwhile_is_kept(tmp_path):
    path = tmp_path / "x"
    with pytest.raises(FileExistsError), atomic_directory(path):
        path.mkdir()
    assert list(tmp_path.iterdir()) == [path]


def test_directory_is_replaced_when_it_is_whole(tmp_path):
    path = tmp_path / "preset"
    for number in (1, 2):
        with replaced_directory(path) as partial:
            (partial / f"file{number}").touch()
    with pytest.raises(RuntimeError), replaced_directory(path):
        raise RuntimeError
    assert os.listdir(path) == ["file2"]
    assert list(tmp_path.iterdir()) == [path]


# === Modes and links ===


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_mode_that_open_gives(tmp_path, mask):
    old = os.umask(mask)
    try:
        write(tmp_path / "ours")
        (tmp_path / "open").open("wb").close()
    finally:
        os.umask(old)
    modes = [stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("ours", "open")]
    assert modes[0] == modes[1] == 0o666 & ~mask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o200])
def test_an_existing_file_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "x"
    path.touch()
    path.chmod(mode)
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_stays_and_its_target_is_written(tmp_path, is_there):
    target, link = tmp_path / "elsewhere" / "x", tmp_path / "first"
    target.parent.mkdir()
    if is_there:
        target.write_bytes(b"old")
    (tmp_path / "second").symlink_to(target)
    link.symlink_to("second")
    write(link)
    assert link.is_symlink() and target.read_bytes() == b"new"
    assert os.listdir(target.parent) == ["x"]


def test_a_link_to_a_folder_to_come_leads_there(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    with atomic_directory(tmp_path / "link") as partial:
        (partial / "file").touch()
    assert os.listdir(tmp_path / "folder") == ["file"]


# === What is no file ===


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    places = {
        tmp_path / "pipe": "a FIFO",
        "/dev/null": "a device",
        tmp_path: "a folder",
        tmp_path / "loop": "a symbolic link that leads nowhere",
        tmp_path / "file" / "x": "which is a file",
        tmp_path / "file" / "sub" / "x": "which is a file",
    }
    for path, kind in places.items():
        with pytest.raises(OSError, match=rf"^{path} must .*{kind}\. Name another"):
            write(path)
    assert (tmp_path / "pipe").is_fifo()
    assert sorted(os.listdir(tmp_path)) == ["file", "loop", "pipe"]
    with pytest.raises(NotADirectoryError), atomic_directory(tmp_path / "file" / "x"):
        raise AssertionError


# === Errors ===


@pytest.mark.parametrize("writer", [atomic_path, atomic_directory])
def test_errors_name_the_user_s_path(tmp_path, writer):
    path = tmp_path / "out"
    with pytest.raises(FileNotFoundError) as caught, writer(path) as partial:
        (partial / "no" / "such").touch()
    assert str(caught.value).endswith(f"'{path}/no/such'")
    with pytest.raises(OSError) as caught, writer(path) as partial:
        raise OSError(f"unable to create file {partial}, as HDF5 says")
    assert str(caught.value) == f"unable to create file {path}, as HDF5 says"
    assert os.listdir(tmp_path) == []


def test_without_permission_the_user_s_path_is_named():
    with read_only_folder("there") as folder:
        for name in ("x", "new/x", "there"):
            path = folder / name
            with pytest.raises(PermissionError, match=f"^{path} cannot be written"):
                write(path)
        with pytest.raises(PermissionError, match=f"^{folder}/x cannot be written"):
            atomic_directory(folder / "x").__enter__()
        assert os.listdir(folder) == ["there"]


def test_a_full_disk_is_named_and_what_is_there_stays(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with file_limit(1_000_000), pytest.raises(OSError) as caught:
        write(path, bytes(2_000_000))
    assert str(caught.value) == (
        f"There is no room to write {path}: File too large. Free some space there, or "
        "write elsewhere."
    )
    assert os.listdir(tmp_path) == ["x"] and path.read_bytes() == b"old"
