"""Reading flax files, whole and broken, and the loader's complaints."""

import keras
import ml_dtypes
import msgpack
import numpy as np
import pytest

from keras_dalle.converters.flax import (
    Rule,
    Transform,
    assign_weights,
    read_flax_msgpack,
    tensor_names,
)


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


@pytest.mark.parametrize(
    "dtype", ["float32", "float16", "int32", "uint8", "bool", ml_dtypes.bfloat16]
)
def test_arrays(tmp_path, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    path = _write(tmp_path / "x", {"a": {"b": array, "empty": array[:0]}})
    weights = read_flax_msgpack(path)
    assert list(weights) == ["a/b", "a/empty"]
    assert weights["a/b"].dtype == dtype
    np.testing.assert_array_equal(weights["a/b"], array)
    assert weights["a/empty"].shape == (0, 3)


def test_scalars(tmp_path):
    tree = {"step": 3, "scalar": np.float32(1.5), "array": np.array(2.5)}
    weights = read_flax_msgpack(_write(tmp_path / "x", tree))
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
    weights = read_flax_msgpack(_write(tmp_path / "x", {"a": leaf}))
    np.testing.assert_array_equal(weights["a"], np.arange(6).reshape(2, 3))
    del chunks["0"]
    with pytest.raises(ValueError, match="lacks a part"):
        read_flax_msgpack(_write(tmp_path / "x", {"a": leaf}))


def test_every_truncation_is_named(tmp_path):
    path = _write(tmp_path / "weights.msgpack", {"a": {"b": np.arange(5)}, "c": 1})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="weights.msgpack.*not a complete flax"):
            read_flax_msgpack(path)


@pytest.mark.parametrize(
    "content",
    [
        b"version https://git-lfs.github.com/spec/v1\n",
        msgpack.packb([1, 2]),
        msgpack.packb({"a": None}),
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
        read_flax_msgpack(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_flax_msgpack(tmp_path / "nothing")


# === Mapping ===

TRANSPOSED = Transform(load=np.transpose, save=np.transpose)
TABLE = [
    Rule(r"block_(\d)/kernel", r"blocks/\1/w", TRANSPOSED),
    Rule(r"block_(\d)/bias", r"blocks/\1/b"),
]


def _model():
    block_0 = keras.layers.Dense(3, name="block_0")
    block_1 = keras.layers.Dense(1, name="block_1")
    inputs = keras.Input((2,))
    return keras.Model(inputs, block_1(block_0(inputs)))


def _weights():
    return {
        "blocks/0/w": np.arange(6.0).reshape(3, 2),
        "blocks/0/b": np.ones(3),
        "blocks/1/w": np.full((1, 3), 2.0),
        "blocks/1/b": np.full(1, 3.0),
    }


def test_assign_weights():
    model = _model()
    assign_weights(model, _weights(), TABLE)
    np.testing.assert_array_equal(
        model.get_weights()[0], np.arange(6.0).reshape(3, 2).T
    )
    np.testing.assert_array_equal(model.get_weights()[3], [3.0])


def test_all_faults_are_reported_and_nothing_is_assigned():
    model = _model()
    before = model.get_weights()
    weights = _weights()
    del weights["blocks/1/w"], weights["blocks/0/b"]
    weights["extra"] = np.ones(1)
    weights["blocks/0/w"] = np.ones((2, 3))
    with pytest.raises(ValueError) as error:
        assign_weights(model, weights, TABLE, source="some.file")
    text = str(error.value)
    for part in (
        "some.file",
        "missing (2)",
        "blocks/1/w (for block_1/kernel)",
        "blocks/0/b",
        "unexpected (1)",
        "extra",
        "misshapen (1)",
        "blocks/0/w: expected (2, 3), received (3, 2)",
    ):
        assert part in text
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_variable_without_rule():
    with pytest.raises(ValueError, match=r"Unmatched: \['other/kernel'\]"):
        tensor_names(["block_0/bias", "other/kernel"], TABLE)
