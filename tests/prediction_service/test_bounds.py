"""Bounds on the cost of a single message, in memory and in lines of the log."""

import logging

import grpc
import pytest
from tensorflow_serving.apis import predict_pb2

from keras_dalle.prediction_service import message_parts
from keras_dalle.prediction_service.errors import MAX_MESSAGE_LENGTH
from keras_dalle.prediction_service.message_parts import (
    MAX_PARTS,
    TooManyParts,
    check_parts,
)
from keras_dalle.prediction_service.server import MAX_RECEIVED_BYTES

PREDICT = "/tensorflow.serving.PredictionService/Predict"
METHODS = [
    PREDICT,
    "/tensorflow.serving.PredictionService/GetModelMetadata",
    "/tensorflow.serving.ModelService/GetModelStatus",
    "/tensorflow.serving.ModelService/HandleReloadConfigRequest",
    "/grpc.health.v1.Health/Check",
]


@pytest.fixture(scope="module")
def channel(target):
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(target, options) as channel:
        yield channel


def refusal(channel, method, content, **call):
    with pytest.raises(grpc.RpcError) as error:
        channel.unary_unary(method)(content, timeout=60, **call)
    return error.value.code().name, error.value.details()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("content", [b"\xff", b"\x0a\x7fcut", b"\x9b\x06" * 500])
def test_a_malformed_message_is_a_line_of_the_log(channel, caplog, method, content):
    with caplog.at_level(logging.WARNING):
        code, _ = refusal(channel, method, content)
    assert code == "INTERNAL"
    (record,) = caplog.records
    lines = logging.Formatter().format(record).splitlines()
    assert len(lines) == 1
    assert "rror parsing message with type" in lines[0]


def test_a_message_has_a_limit_whatever_it_was_packed_to(channel):
    content = bytes(MAX_RECEIVED_BYTES + 1)
    for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
        code, text = refusal(channel, PREDICT, content, compression=compression)
        assert code == "RESOURCE_EXHAUSTED"
        assert "larger than max" in text


def test_thousands_of_names_are_refused_as_a_few_are(channel):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    names = [f"name{number:05}" for number in range(30_000)]
    for name in reversed(names):
        request.inputs[name].SetInParent()
    code, text = refusal(channel, PREDICT, request.SerializeToString())
    assert code == "INVALID_ARGUMENT"
    whole = (
        "input size does not match signature: 30000!=8 "
        f"len({{{','.join(names)}}}) != len("
    )
    assert text == whole[:MAX_MESSAGE_LENGTH] + "...TRUNCATED"


def dimensions(count):
    request = predict_pb2.PredictRequest()
    shape = request.inputs["x"].tensor_shape
    for _ in range(count):
        shape.dim.add()
    return request.SerializeToString(), count + 4


def texts(count):
    request = predict_pb2.PredictRequest()
    request.inputs["x"].string_val.extend([b"a" * 200] * count)
    return request.SerializeToString(), count + 3


def variants(count):
    request = predict_pb2.PredictRequest()
    for _ in range(count):
        request.inputs["x"].variant_val.add(type_name="a")
    return request.SerializeToString(), 2 * count + 3


def outputs(count):
    request = predict_pb2.PredictRequest(output_filter=["y"] * count)
    return request.SerializeToString(), count


def same_names(count):
    return b"\x12\x00" * count, count


def fields_unknown_to_us(count):
    return b"\x98\x06\x80\x01\xa1\x06.8.bytes\xa5\x064444" * count, 3 * count


def unpacked_numbers(count):
    content = b"\x12" + bytes([2 * count + 2, 0x12, 2 * count]) + b"\x38\x01" * count
    return content, count + 2


MAKERS = [dimensions, texts, variants, outputs, same_names, fields_unknown_to_us]


@pytest.mark.parametrize("make", [*MAKERS, unpacked_numbers], ids=lambda f: f.__name__)
def test_parts_are_counted(make, monkeypatch):
    content, parts = make(40)
    descriptor = predict_pb2.PredictRequest.DESCRIPTOR
    predict_pb2.PredictRequest.FromString(content)
    monkeypatch.setattr(message_parts, "MAX_PARTS", parts)
    check_parts(content, descriptor)
    monkeypatch.setattr(message_parts, "MAX_PARTS", parts - 1)
    with pytest.raises(TooManyParts):
        check_parts(content, descriptor)


def test_numbers_in_a_list_are_one_part(monkeypatch):
    request = predict_pb2.PredictRequest()
    request.inputs["x"].int_val.extend(range(-500, 500))
    request.inputs["x"].tensor_content = bytes(1000)
    monkeypatch.setattr(message_parts, "MAX_PARTS", 5)
    check_parts(request.SerializeToString(), request.DESCRIPTOR)


@pytest.mark.parametrize("method", METHODS)
def test_too_many_parts_are_refused_before_they_are_read(channel, method):
    # Field 1 is a message of each of them, but a text of the last.
    content = b"\x0a\x00" * (MAX_PARTS + 1)
    code, text = refusal(channel, method, content, compression=grpc.Compression.Gzip)
    assert (code, text.split(":")[0]) == (
        "RESOURCE_EXHAUSTED",
        f"A message must have at most {MAX_PARTS} parts",
    )


def test_tensors_within_tensors_without_end(channel):
    content = b""
    for _ in range(3000):
        # `tensors` of a `variant_val` of a tensor
        content = field(15, field(3, content))
    content = field(2, field(1, b"x") + field(2, content))
    code, text = refusal(channel, PREDICT, content)
    assert (code, text) == ("INTERNAL", "Exception deserializing request!")


def field(number, content):
    size = len(content)
    groups = [size >> shift & 0x7F for shift in (0, 7, 14)]
    length = bytes([groups[0] | 0x80, groups[1] | 0x80, groups[2]])
    return bytes([number << 3 | 2]) + length + content
