"""JSON of many values, and of many kinds of them."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo
from tensorflow_serving.apis import predict_pb2

from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.json_answers import answer
from keras_dalle.prediction_service.json_tensors import (
    MAX_CONTAINERS,
    fill_predict_request,
    parse_json,
)

RNG = np.random.default_rng(7)


def arrays(document, **dtypes):
    """The inputs of a request by name."""
    infos = {name: TensorInfo(dtype=t.as_datatype_enum) for name, t in dtypes.items()}
    request = predict_pb2.PredictRequest()
    fill_predict_request(document, request, infos)
    return {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}


@pytest.mark.parametrize("shape", [(40_000,), (2, 20_000), (7000, 3), (3, 0), (0,)])
@pytest.mark.parametrize("layout", ["instances", "inputs"])
def test_there_and_back(shape, layout):
    sent = RNG.normal(size=shape).astype(np.float32)
    if layout == "instances" and not shape[0]:
        return
    parsed = parse_json(json.dumps({layout: sent.tolist()}).encode())
    got = arrays(parsed, x=tf.float32)["x"]
    assert got.shape == shape and np.array_equal(got, sent)
    ((_, content),) = json.loads(answer({"y": got}, layout)).items()
    assert np.array_equal(np.array(content, np.float32).reshape(shape), sent)


def test_rows_of_several_outputs():
    numbers = RNG.integers(-9, 9, [30, 500])
    texts = np.array([[b"a\0", b"\xc3\xa9"]] * 30, object)
    body = answer({"n": numbers, "t": texts, "t_bytes": texts}, "instances")
    rows = json.loads(body)["predictions"]
    assert [row["n"] for row in rows] == numbers.tolist()
    assert {json.dumps(row["t"]) for row in rows} == {'["a\\u0000", "\\u00e9"]'}
    assert rows[29]["t_bytes"] == [{"b64": "YQA="}, {"b64": "w6k="}]


def test_named_rows():
    rows = [{"x": [i, i], "s": {"b64": "aGk="}} for i in range(20_000)]
    got = arrays({"instances": rows}, x=tf.int16, s=tf.string)
    assert got["x"].shape == (20_000, 2) and got["x"][-1, 0] == 19_999
    assert got["s"].tolist() == [b"hi"] * 20_000


@pytest.mark.parametrize(
    "wrong, text",
    [
        ("a", 'JSON Value: "a" Type: String is not of expected type: int32'),
        (2**31, "JSON Value: 2147483648 Type: Number is not of expected type: int32"),
        (True, "JSON Value: true Type: True is not of expected type: int32"),
        (1.5, "JSON Value: 1.5 Type: Number is not of expected type: int32"),
        ([5], "Expecting shape [] but got: [1]"),
        ([5, 6], "Expecting tensor size: 1 but got: 2"),
    ],
    ids=str,
)
@pytest.mark.parametrize("number", [0, 1, 23_456, 50_000])
def test_the_row_that_is_wrong_is_named(wrong, text, number):
    rows = list(range(50_001))
    rows[number] = wrong
    if number == 0 and isinstance(wrong, list):
        number, text = 1, text.replace("[] but got: [1]", "[1] but got: []")
        text = text.replace("1 but got: 2", "2 but got: 1")
    with pytest.raises(ServingError) as caught:
        arrays({"instances": rows}, x=tf.int32)
    place = f"Failed to process element: {number} of 'instances' list. Error: "
    assert str(caught.value) == f"{place}INVALID_ARGUMENT: {text}"


def test_many_arrays_are_refused_before_they_are_parsed():
    body = b'{"instances": [' + b"[]," * MAX_CONTAINERS
    with pytest.raises(ServingError, match="at most 1000000 arrays and objects"):
        parse_json(body)
    parse_json(b'{"instances": [' + b"[]," * (MAX_CONTAINERS // 50) + b"[]]}")


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_nesting_is_no_json(opening):
    with pytest.raises(ServingError, match="JSON Parse error: .*nested too deeply"):
        parse_json(opening * 200_000)
