"""Image tokens in files: written and read, and nothing in them is run."""

import json
import os

import numpy as np
import pytest

from keras_dalle.utils.token_files import read_tokens, save_tokens

TOKENS = np.array([3, 0, 16_383, -1], np.int32)


@pytest.mark.parametrize("name", ["x.json", "new/x.npy"])
def test_what_is_written_is_read(tmp_path, name):
    path = save_tokens(TOKENS, tmp_path / name)
    np.testing.assert_array_equal(read_tokens(path), TOKENS)


def test_others_read_them_too(tmp_path):
    save_tokens(TOKENS, tmp_path / "x.json")
    assert json.loads((tmp_path / "x.json").read_text()) == TOKENS.tolist()
    save_tokens(TOKENS, tmp_path / "x.npy")
    read = np.load(tmp_path / "x.npy", allow_pickle=False)
    assert read.dtype == np.int32 and read.tolist() == TOKENS.tolist()


@pytest.mark.parametrize("text", ["{}", "[]", "[1.5]", "[true]", "[[1]]", "[1e3]", "5"])
def test_json_that_is_no_list_of_tokens(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match="must hold one list of image tokens"):
        read_tokens(tmp_path / "x.json")


def test_numbers_no_token_has(tmp_path):
    (tmp_path / "x.json").write_text(f"[{2**31}]")
    with pytest.raises(ValueError, match="must hold one list of image tokens"):
        read_tokens(tmp_path / "x.json")
    (tmp_path / "x.json").write_text("[1")
    with pytest.raises(ValueError, match="not valid JSON"):
        read_tokens(tmp_path / "x.json")


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((2, 2), int), np.array([""])])
def test_arrays_that_are_no_tokens(tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ValueError, match="must hold one list of image tokens"):
        read_tokens(tmp_path / "x.npy")


class Harm:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_nothing_in_a_file_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.array([Harm()], object), allow_pickle=True)
    with pytest.raises(ValueError, match="not one array of numbers"):
        read_tokens("x.npy")
    assert os.listdir() == ["x.npy"]


def test_damaged_files(tmp_path):
    path = save_tokens(np.arange(100), tmp_path / "x.npy")
    whole = path.read_bytes()
    headers = [whole.replace(b"(100,)", x) for x in (b"(999,)", b"((0,),", b"(1e9,)")]
    for content in (b"", whole[:50], whole[:-8], b"text", *headers):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not one array of numbers"):
            read_tokens(path)
    np.savez(tmp_path / "z.npz", TOKENS)
    os.replace(tmp_path / "z.npz", path)
    with pytest.raises(ValueError, match="not one array of numbers"):
        read_tokens(path)
    with pytest.raises(FileNotFoundError):
        read_tokens(tmp_path / "none.npy")
    with pytest.raises(
        ValueError, match="must end in .json or .npy. Received: .*x.txt"
    ):
        read_tokens(tmp_path / "x.txt")
