"""Outputs that appear whole or not at all."""

import pytest

from keras_dalle.utils.atomic import atomic_directory, atomic_file


def test_file_is_replaced_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "x"
    for content in (b"first", b"second"):
        with atomic_file(path) as file:
            file.write(content)
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
