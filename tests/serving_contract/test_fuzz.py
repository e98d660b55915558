"""Whatever comes from outside is answered, tells nothing, and harms no neighbour."""

import contextlib
import json
import socket
import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2

from tests.serving_contract.running_server import predict_request

SETTINGS = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# What a caller's mistake may be answered with. UNKNOWN and INTERNAL would be ours.
REFUSALS = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED"}
SECRETS = ("Traceback", 'File "', ".py")
METHODS = ("Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata")


@pytest.fixture(scope="module")
def neighbour(server):
    """A caller beside the fuzzing, whose every answer must be right."""
    stopping, faults = threading.Event(), []

    def run():
        while not stopping.is_set():
            try:
                texts = [b"a", b"b"]
                request = predict_request("echo", text=texts, number=[1, 2])
                outputs = server.prediction.Predict(request, timeout=30).outputs
                assert list(outputs["text"].string_val) == texts
                assert list(outputs["number"].int64_val) == [1, 2]
                assert server.y_of([2.0]) == [3.0]
            except Exception as error:
                faults.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield faults
    stopping.set()
    thread.join()
    assert faults == []


def check_refusal(code, text):
    assert code in REFUSALS, (code, text)
    assert not any(secret in text for secret in SECRETS), text


def predict(server, request):
    """Sends a request that may be anything; an answer and a refusal are both fine."""
    try:
        server.prediction.Predict(request, timeout=30)
    except grpc.RpcError as error:
        check_refusal(error.code().name, error.details())


@SETTINGS
@given(method=st.sampled_from(METHODS), content=st.binary(max_size=200))
def test_bytes_that_are_no_request(server, neighbour, method, content):
    call = server.channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
    with pytest.raises(grpc.RpcError) as error:
        call(content, timeout=30)
    # gRPC's own answer to bytes that are no message is INTERNAL.
    assert error.value.code().name in REFUSALS | {"INTERNAL"}
    assert not any(secret in error.value.details() for secret in SECRETS)
    assert neighbour == []


DTYPES = st.one_of(st.integers(0, 33), st.sampled_from([101, 107, 120, 77, 2**31 - 1]))
INPUTS = (("half_plus_two", "x"), ("echo", "text"), ("echo", "number"))
# Those of TensorFlow's own that parsing makes objects of, and one that is none.
VARIANTS = ["tensorflow::Tensor", "tensorflow::TensorList", "RaggedTensorVariant", "zz"]
SIZES = st.one_of(
    st.integers(0, 3), st.sampled_from([-1, -(2**63), 2**31, 2**40, 2**63 - 1])
)


@st.composite
def tensor_protos(draw):
    """Protos with any type, shape, values, and content, which rarely fit together."""
    proto = tensor_pb2.TensorProto(dtype=draw(DTYPES))
    for size in draw(st.lists(SIZES, max_size=4)):
        proto.tensor_shape.dim.add(size=size)
    proto.tensor_shape.unknown_rank = draw(st.booleans())
    proto.tensor_content = draw(st.sampled_from([b"", b"\x00" * 8, b"xyz"]))
    proto.float_val.extend(draw(st.lists(st.floats(width=32), max_size=3)))
    proto.string_val.extend(draw(st.lists(st.binary(max_size=5), max_size=3)))
    proto.int64_val.extend(draw(st.lists(st.integers(0, 9), max_size=2)))
    for kind in draw(st.lists(st.sampled_from(VARIANTS), max_size=2)):
        proto.variant_val.add(type_name=kind, metadata=b"\x08\x01").tensors.add()
        proto.resource_handle_val.add(name=kind, hash_code=1)
    return proto


@SETTINGS
@given(text=tensor_protos(), number=tensor_protos(), x=tensor_protos())
def test_tensors_of_any_kind(server, neighbour, text, number, x):
    request = predict_request("echo")
    request.inputs["text"].CopyFrom(text)
    request.inputs["number"].CopyFrom(number)
    predict(server, request)
    request = predict_request("half_plus_two")
    request.inputs["x"].CopyFrom(x)
    predict(server, request)
    assert neighbour == []


@pytest.mark.parametrize(
    "text, number",
    [
        (["bad"], [1]),
        (["a"], [1, 2, 3]),
        ([["a"], ["b"]], [1, 2]),
        ("a", 1),
        ([], np.zeros(0, np.int64)),
        (["a"], np.float32([1.5])),
        ([1], [1]),
    ],
    ids=["value", "rows", "rank", "scalar", "empty", "type", "types"],
)
def test_faults_beside_good_rows(server, neighbour, text, number):
    for _ in range(20):
        predict(server, predict_request("echo", text=text, number=number))
    assert neighbour == []


@pytest.mark.parametrize("dtype", [tf.float32, tf.string, tf.int64], ids=str)
@pytest.mark.parametrize("size", [2**34, 30_000_000])
def test_a_few_bytes_for_a_huge_tensor(server, neighbour, dtype, size):
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    proto.tensor_shape.dim.add(size=size)
    proto.float_val.append(1.0)
    proto.string_val.append(b"a" * 500)
    for name, alias in INPUTS:
        request = predict_request(name)
        request.inputs[alias].CopyFrom(proto)
        predict(server, request)
    assert neighbour == []


def test_small_messages_of_which_a_parser_makes_much(server, neighbour):
    """Names of inputs and outputs, dimensions and values by the thousand."""
    request = predict_request("half_plus_two", x=[1.0])
    for number in range(20_000):
        request.inputs[f"a{number}"].dtype = 1
    predict(server, request)
    request = predict_request("half_plus_two", x=[1.0])
    request.output_filter.extend(["y"] * 20_000)
    predict(server, request)
    del request.output_filter[:]
    for _ in range(20_000):
        request.inputs["x"].tensor_shape.dim.add(size=1)
    predict(server, request)
    for spec in ({"name": "a" * 10**6}, {"signature_name": "a" * 10**6}):
        request = predict_request("half_plus_two", x=[1.0])
        request.model_spec.MergeFrom(type(request.model_spec)(**spec))
        predict(server, request)
    assert neighbour == []


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers(-(2**70), 2**70)
    | st.text(max_size=5)
    | st.just({"b64": "aGk="}),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["text", "number", "x", "b64", "zz"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
BODIES = st.dictionaries(
    st.sampled_from(["instances", "inputs", "signature_name", "examples", "context"]),
    JSON,
    max_size=3,
)


def post(server, path, body):
    status, content = server.rest(path, body)
    assert status in (200, 400, 404, 501), (status, content)
    if status != 200:
        assert list(content) == ["error"]
        assert not any(secret in content["error"] for secret in SECRETS)


@SETTINGS
@given(
    model=st.sampled_from(["echo", "half_plus_two"]),
    method=st.sampled_from(["predict", "classify", "regress"]),
    body=BODIES,
)
def test_json_of_any_kind(server, neighbour, model, method, body):
    post(server, f"/v1/models/{model}:{method}", json.dumps(body).encode())
    assert neighbour == []


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"instances": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        b'{"instances": [' + b"1" * 10_000 + b"]}",
        b'{"instances": [1e999]}',
        b'{"instances": ["\\ud800"]}',
        b'{"signature_name": "\\ud800", "instances": [1]}',
        b'{"instances": [1], "instances": [2]}',
        b'{"instances": [1]} and more',
        b"\x00" * 1000,
    ],
    ids=range(10),
)
def test_odd_bodies(server, neighbour, body):
    for model in ("echo", "half_plus_two"):
        post(server, f"/v1/models/{model}:predict", body)
    assert neighbour == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"GET /v1/models/echo\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
        b"POST /v1/models/echo:predict HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/models/echo:predict HTTP/1.1\r\nContent-Length: 1e9\r\n\r\n",
        b"POST /v1/models/echo:predict HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST /v1/models/echo:predict HTTP/1.1\r\nContent-Length: 9\r\n\r\n{",
    ],
    ids=range(10),
)
def test_what_is_hardly_http(server, neighbour, content):
    host, _, port = server.rest_address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=5) as connection,
        contextlib.suppress(ConnectionError),
    ):
        connection.sendall(content)
        # On some systems a connection that the server cut is no longer one to shut.
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        assert not any(secret.encode() in answer for secret in SECRETS)
    assert server.rest("/v1/models/echo")[0] == 200
    assert neighbour == []
