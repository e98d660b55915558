"""From a model's variables to a checkpoint's tensors and back, and the complaints."""

import keras
import ml_dtypes
import numpy as np
import pytest

from keras_dalle.converters.mapping import (
    Rule,
    Transform,
    assign_weights,
    model_tensors,
    tensor_names,
)
from keras_dalle.converters.tensors import StoredTensor

TRANSPOSED = Transform(load=np.transpose, save=np.transpose)
TABLE = [
    Rule(r"block_(\d)/kernel", r"blocks/\1/w", TRANSPOSED),
    Rule(r"block_(\d)/bias", r"blocks/\1/b"),
]


def _model(dtype=None):
    block_0 = keras.layers.Dense(3, name="block_0", dtype=dtype)
    block_1 = keras.layers.Dense(1, name="block_1", dtype=dtype)
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
    weights["blocks/1/b"] = np.ones(1, "int32")
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
        "not floating point (1)",
        "blocks/1/b: int32",
    ):
        assert part in text
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_variable_without_rule():
    with pytest.raises(ValueError, match=r"Unmatched: \['other/kernel'\]"):
        tensor_names(["block_0/bias", "other/kernel"], TABLE)


def test_ignored_tensors():
    weights = {**_weights(), "loss/weight": np.ones(1), "other": np.ones(1)}
    with pytest.raises(ValueError, match=r"unexpected \(1\):\n    other\n"):
        assign_weights(_model(), weights, TABLE, ignored=[r"loss/.*"])
    assign_weights(_model(), weights, TABLE, ignored=[r"loss/.*", "other"])


def test_tensors_are_read_one_by_one_and_reported():
    alive, most = set(), []

    class Array(np.ndarray):
        def __del__(self):
            alive.discard(id(self))

    def stored(array):
        def read():
            copy = np.array(array).view(Array)
            alive.add(id(copy))
            most.append(len(alive))
            return copy

        return StoredTensor(array.shape, array.dtype, read)

    tensors = {name: stored(array) for name, array in _weights().items()}
    assigned = []
    assign_weights(_model(), tensors, TABLE, on_assigned=assigned.append)
    assert assigned == list(tensors)
    assert max(most) <= 2  # the last one and its successor


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_there_and_back(dtype):
    model = _model(dtype)
    weights = {name: x.astype(ml_dtypes.bfloat16) for name, x in _weights().items()}
    assign_weights(model, weights, TABLE)
    saved = model_tensors(model, TABLE)
    assert list(saved) == list(weights)
    for name, tensor in saved.items():
        array = tensor.read()
        assert array.dtype == tensor.dtype == np.dtype(dtype)
        assert array.shape == tensor.shape
        np.testing.assert_array_equal(array, weights[name].astype(dtype))


def test_two_variables_of_one_tensor():
    table = [Rule(r".*/bias", "b"), *TABLE]
    with pytest.raises(ValueError, match="Received: b for block_1/bias"):
        model_tensors(_model(), table)
