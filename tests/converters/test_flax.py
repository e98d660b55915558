"""Flax files: reading whole, stacked, sharded and broken ones, and writing them."""

import json
import os

import ml_dtypes
import msgpack
import numpy as np
import pytest

from keras_dalle.converters import flax
from keras_dalle.converters.flax import open_flax_msgpack, write_flax_msgpack
from keras_dalle.converters.tensors import StoredTensor
from tests.golden.golden_data import ROOT

GOLDEN_FILES = sorted(ROOT.glob("*/*/flax_model.msgpack"))


def _encode(value):
    """The leaves as `flax.serialization` writes them."""
    if isinstance(value, np.ndarray | np.generic):
        code = 1 if isinstance(value, np.ndarray) else 3
        fields = (value.shape, value.dtype.name, value.tobytes())
        return msgpack.ExtType(code, msgpack.packb(fields, use_bin_type=True))
    raise TypeError(type(value))


def _write(path, tree):
    path.write_bytes(msgpack.packb(tree, default=_encode, strict_types=True))
    return path


def _read(path):
    return {name: tensor.read() for name, tensor in open_flax_msgpack(path).items()}


# === Reading ===


@pytest.mark.parametrize(
    "dtype", ["float32", "float16", "int32", "uint8", "bool", ml_dtypes.bfloat16]
)
def test_arrays(tmp_path, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    path = _write(tmp_path / "x", {"a": {"b": array, "empty": array[:0]}})
    weights = _read(path)
    assert list(weights) == ["a/b", "a/empty"]
    assert weights["a/b"].dtype == dtype
    np.testing.assert_array_equal(weights["a/b"], array)
    assert weights["a/empty"].shape == (0, 3)


def test_scalars(tmp_path):
    tree = {"step": 3, "scalar": np.float32(1.5), "array": np.array(2.5)}
    weights = _read(_write(tmp_path / "x", tree))
    assert {name: x.item() for name, x in weights.items()} == {
        "step": 3,
        "scalar": 1.5,
        "array": 2.5,
    }


def test_chunked_array(tmp_path):
    chunks = {"0": np.arange(4), "1": np.arange(4, 6)}
    leaf = {
        "__msgpack_chunked_array__": True,
        "shape": {"0": 2, "1": 3},
        "chunks": chunks,
    }
    weights = _read(_write(tmp_path / "x", {"a": leaf}))
    np.testing.assert_array_equal(weights["a"], np.arange(6).reshape(2, 3))
    del chunks["0"]
    with pytest.raises(ValueError, match="lacks a part"):
        _read(_write(tmp_path / "x", {"a": leaf}))


def test_every_truncation_is_named(tmp_path):
    path = _write(tmp_path / "weights.msgpack", {"a": {"b": np.arange(5)}, "c": 1})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="weights.msgpack.*not a complete flax"):
            open_flax_msgpack(path)


@pytest.mark.parametrize(
    "content",
    [
        b"version https://git-lfs.github.com/spec/v1\n",
        msgpack.packb([1, 2]),
        msgpack.packb({"a": None}),
        msgpack.packb({"a": "text"}),
        msgpack.packb({1: 2}),
        msgpack.packb({"a": 1}) + b"more",
        b"\x82\xa1a\x01\xa1a\x02",  # the same key twice
        b"\x81\xa1a" * 100 + b"\x01",  # too deep
        b"\xdb\xff\xff\xff\xff",
        b"\xc1",
        msgpack.packb({"a": msgpack.ExtType(2, msgpack.packb((1.0, 2.0)))}),
        msgpack.packb({"a": msgpack.ExtType(1, msgpack.packb((1, 2)))}),
        msgpack.packb(
            {"a": msgpack.ExtType(1, msgpack.packb(((-1,), "float32", b"1234")))}
        ),
        msgpack.packb(
            {"a": msgpack.ExtType(1, msgpack.packb(((2**62, 4), "float32", b"1")))}
        ),
        msgpack.packb({"a": msgpack.ExtType(9, b"")}),
        msgpack.packb({"a": msgpack.ExtType(1, b"junk")}),
        msgpack.packb(
            {"a": msgpack.ExtType(1, msgpack.packb(((1,), "object", b"12345678")))}
        ),
        msgpack.packb(
            {"a": msgpack.ExtType(1, msgpack.packb(((3,), "float32", b"12345678")))}
        ),
    ],
)
def test_corrupt_file_is_named(tmp_path, content):
    path = tmp_path / "weights.msgpack"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="weights.msgpack.*not a complete flax"):
        open_flax_msgpack(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing, or in the shards"):
        open_flax_msgpack(tmp_path / "nothing")


def test_file_that_shrinks_after_it_was_opened(tmp_path):
    path = _write(tmp_path / "x", {"a": np.arange(50)})
    tensor = open_flax_msgpack(path)["a"]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="has become shorter"):
        tensor.read()


def test_layers_are_read_alone(tmp_path):
    stacked_L234 = np.arange(5 * 24.0).reshape(5, 2, 3, 4)
    path = _write(tmp_path / "x", {"a": stacked_L234})
    tensor = open_flax_msgpack(path)["a"]
    layer = tensor.layer(3)
    assert layer.shape == (2, 3, 4)
    content = path.read_bytes()
    # Nothing but the layer's own bytes is needed.
    start = content.index(stacked_L234[3].tobytes())
    path.write_bytes(b"\0" * start + content[start : start + layer.nbytes])
    np.testing.assert_array_equal(layer.read(), stacked_L234[3])
    with pytest.raises(ValueError, match="has become shorter"):
        tensor.layer(4).read()


def test_layers_across_chunks(tmp_path, monkeypatch):
    array_L34 = np.arange(5 * 12).reshape(5, 3, 4)
    monkeypatch.setattr(flax, "MAX_CHUNK_BYTES", 7 * array_L34.itemsize)
    write_flax_msgpack(tmp_path / "x", {"a": StoredTensor.of(array_L34)})
    leaf = {
        "__msgpack_chunked_array__": True,
        "shape": {"0": 5, "1": 3, "2": 4},
        "chunks": {str(i): array_L34.ravel()[7 * i : 7 * i + 7] for i in range(9)},
    }
    expected = _write(tmp_path / "y", {"a": leaf}).read_bytes()
    assert (tmp_path / "x").read_bytes() == expected
    tensor = open_flax_msgpack(tmp_path / "x")["a"]
    np.testing.assert_array_equal(tensor.read(), array_L34)
    for i in range(5):
        np.testing.assert_array_equal(tensor.layer(i).read(), array_L34[i])


# === Shards ===


@pytest.fixture
def sharded(tmp_path):
    """Two shards and their index as transformers' `save_pretrained` writes them."""
    _write(tmp_path / "flax_model-00001-of-00002.msgpack", {"a": {"b": np.arange(3)}})
    _write(
        tmp_path / "flax_model-00002-of-00002.msgpack",
        {"a": {"c": np.arange(4)}, "d": np.arange(5)},
    )
    weight_map = {
        "a/b": "flax_model-00001-of-00002.msgpack",
        "a/c": "flax_model-00002-of-00002.msgpack",
        "d": "flax_model-00002-of-00002.msgpack",
    }
    return tmp_path / "flax_model.msgpack", weight_map


def _write_index(path, weight_map):
    index = {"metadata": {"total_size": 96}, "weight_map": weight_map}
    path.with_name(path.name + ".index.json").write_text(json.dumps(index))


def test_shards(sharded):
    path, weight_map = sharded
    _write_index(path, weight_map)
    weights = _read(path)
    assert {name: len(array) for name, array in weights.items()} == {
        "a/b": 3,
        "a/c": 4,
        "d": 5,
    }


def test_missing_shard(sharded):
    path, weight_map = sharded
    _write_index(path, weight_map)
    path.with_name(weight_map["d"]).unlink()
    with pytest.raises(FileNotFoundError, match="Missing: flax_model-00002-of-00002"):
        open_flax_msgpack(path)


@pytest.mark.parametrize("name", ["../x.msgpack", "/etc/hostname", "a/b", "", ".."])
def test_shards_outside_of_the_folder(sharded, name):
    path, weight_map = sharded
    _write_index(path, {**weight_map, "e": name})
    with pytest.raises(ValueError, match="must name files beside it"):
        open_flax_msgpack(path)


def test_shard_of_another_checkpoint(sharded):
    path, weight_map = sharded
    del weight_map["d"]
    _write_index(path, {**weight_map, "e": weight_map["a/b"]})
    with pytest.raises(ValueError, match=r"lacks \['e'\] and has in addition \[\]"):
        open_flax_msgpack(path)


@pytest.mark.parametrize("content", ["[]", "{}", '{"weight_map": {}}', '{"weight'])
def test_broken_index(tmp_path, content):
    (tmp_path / "x.index.json").write_text(content)
    with pytest.raises(ValueError, match="x.index.json"):
        open_flax_msgpack(tmp_path / "x")


# === Writing ===


@pytest.mark.parametrize(
    "path", GOLDEN_FILES, ids=lambda path: "/".join(path.parts[-3:-1])
)
def test_golden_files_are_written_as_they_were(path, tmp_path):
    tensors = open_flax_msgpack(path)
    shuffled = dict(reversed(tensors.items()))
    write_flax_msgpack(tmp_path / "x", shuffled)
    assert (tmp_path / "x").read_bytes() == path.read_bytes()
    assert list(open_flax_msgpack(tmp_path / "x")) == list(tensors)


def test_there_are_golden_files():
    assert GOLDEN_FILES


@pytest.mark.parametrize("count", [0, 1, 30, 200, 255, 256, 65500, 65536, 70000])
@pytest.mark.parametrize("dtype", ["uint8", "float16", ml_dtypes.bfloat16])
def test_sizes_of_headers(tmp_path, count, dtype):
    array = (np.arange(count) % 256).astype(dtype)
    write_flax_msgpack(tmp_path / "x", {"a": StoredTensor.of(array)})
    expected = _write(tmp_path / "y", {"a": array}).read_bytes()
    assert (tmp_path / "x").read_bytes() == expected


def test_strided_arrays_and_scalars(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3).T, "b": np.array(1.5)}
    tensors = {name: StoredTensor.of(array) for name, array in arrays.items()}
    write_flax_msgpack(tmp_path / "x", tensors)
    for name, array in _read(tmp_path / "x").items():
        np.testing.assert_array_equal(array, arrays[name])


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a"), ("a/b", "a/b/c")])
def test_name_that_begins_another(tmp_path, names):
    tensors = {name: StoredTensor.of(np.ones(1)) for name in names}
    with pytest.raises(ValueError, match="must not be the beginning"):
        write_flax_msgpack(tmp_path / "x", tensors)
    assert list(tmp_path.iterdir()) == []


def test_failing_read_leaves_no_file(tmp_path):
    def read():
        raise OSError("gone")

    tensor = StoredTensor((3,), np.dtype("float32"), read)
    with pytest.raises(OSError, match="gone"):
        write_flax_msgpack(tmp_path / "x", {"a": tensor})
    assert list(tmp_path.iterdir()) == []


# === Bounded work ===


def _empty_maps(count):
    """Maps without tensors: two bytes each."""
    names = [bytes([0xA1, 97 + i % 26]) for i in range(count)]
    return b"\xdf" + count.to_bytes(4, "big") + b"".join(n + b"\x80" for n in names)


def _long_names(count):
    """32 levels of keys of 4,000 bytes above many tensors."""
    key = b"\xda" + (4000).to_bytes(2, "big") + b"k" * 4000
    leaves = b"".join(
        bytes([0xA2, 97 + i // 26, 97 + i % 26, i % 100]) for i in range(count)
    )
    return (b"\x81" + key) * 31 + b"\xde" + count.to_bytes(2, "big") + leaves


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_empty_maps(600_000), "more than 1000000 parts"),
        (_long_names(600), "names of its tensors are too long"),
        (
            msgpack.packb({"a": {"__msgpack_chunked_array__": True, "more": {"0": 1}}}),
            "has a part 'more'",
        ),
        (msgpack.packb({"a" * 3000: {"b" * 3000: None}}), "is nil"),
    ],
    ids=["maps", "names", "chunks", "text"],
)
def test_foreign_maps_are_given_up_soon(tmp_path, content, reason):
    path = tmp_path / "weights.msgpack"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"weights.msgpack.*{reason}") as error:
        open_flax_msgpack(path)
    assert len(str(error.value)) < 1000


def test_a_pipe_in_place_of_the_file(tmp_path):
    os.mkfifo(tmp_path / "weights.msgpack")
    with pytest.raises(ValueError, match="weights.msgpack must be a regular file"):
        open_flax_msgpack(tmp_path / "weights.msgpack")
