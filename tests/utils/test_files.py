"""Files from outside that are none, too large, too deep, or not what they should be."""

import os
import socket

import pytest

from keras_dalle.utils.files import (
    read_json,
    read_limited_text,
    require_files,
    require_regular_file,
)


@pytest.fixture(params=["pipe", "socket", "device", "folder"])
def stranger(request, tmp_path, monkeypatch):
    """Returns something that is no file, and the word for it in errors."""
    monkeypatch.chdir(tmp_path)  # a socket's path has at most 107 bytes
    path = tmp_path / "stranger"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    elif request.param == "device":
        path.symlink_to(os.devnull)
    else:
        path.mkdir()
    return path, request.param


@pytest.mark.parametrize(
    "read",
    [
        require_regular_file,
        read_json,
        lambda path: require_files(path.parent, [path.name], "any"),
    ],
)
def test_what_is_no_file_on_a_disk_is_refused_and_not_opened(stranger, read):
    path, kind = stranger
    with pytest.raises(ValueError, match=rf"stranger must be a regular file.*{kind}"):
        read(path)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 200_000,
        b'{"a":' * 150_000 + b"1" + b"}" * 150_000,
        b"[1" + b"0" * 10_000 + b"]",
        b'{"a": ' + b"x" * 10_000,
        b"\xff\xfe{\x00}\x00",
    ],
    ids=["lists", "dictionaries", "number", "text", "UTF-16"],
)
def test_json_that_cannot_be_read_names_its_file(tmp_path, content):
    (tmp_path / "odd.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"odd\.json (is not valid JSON|must be)") as e:
        read_json(tmp_path / "odd.json")
    assert len(str(e.value)) < 1000


def test_a_text_without_an_end_is_not_read_to_it():
    with pytest.raises(ValueError, match="/dev/zero must have at most 1000 bytes"):
        read_limited_text("/dev/zero", max_bytes=1000)


def test_missing_files_are_named_up_to_a_number(tmp_path):
    names = [f"shard{i}" for i in range(1000)]
    with pytest.raises(FileNotFoundError, match="Missing: shard0.*992 more") as error:
        require_files(tmp_path, names, "sharded")
    assert len(str(error.value)) < 1000
