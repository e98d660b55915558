"""The stock server's codes and texts, row by row, over gRPC."""

import grpc
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.server import PredictionServer
from tests.toy_task import export_toy

INPUTS = {
    "prompt": tf.string,
    "negative_prompt": tf.string,
    "seed": tf.int64,
    "guidance_scale": tf.float32,
    "temperature": tf.float32,
    "top_k": tf.int32,
    "top_p": tf.float32,
    "guidance_scale_end": tf.float32,
}


@pytest.fixture(scope="module")
def channel(target):
    with grpc.insecure_channel(target) as channel:
        yield channel


@pytest.fixture(scope="module")
def prediction(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def model(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel)


def predict_request(name="m", **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    for alias, value in {"prompt": ["red"], **inputs}.items():
        if not isinstance(value, tensor_pb2.TensorProto):
            value = tf.make_tensor_proto(value, INPUTS.get(alias))
        request.inputs[alias].CopyFrom(value)
    return request


def refusal(method, request):
    with pytest.raises(grpc.RpcError) as error:
        method(request, timeout=60)
    return error.value.code().name, error.value.details()


def test_predict_answers_with_the_highest_version(prediction):
    response = prediction.Predict(predict_request())
    assert response.model_spec.name == "m"
    assert response.model_spec.version.value == 12
    assert response.model_spec.signature_name == "serving_default"
    assert set(response.outputs) == {"image_bytes", "error"}
    assert response.outputs["image_bytes"].string_val[0].startswith(b"\x89PNG")


def test_output_filter_selects(prediction):
    request = predict_request()
    request.output_filter.append("error")
    assert set(prediction.Predict(request).outputs) == {"error"}


def test_spec_faults(prediction):
    request = predict_pb2.PredictRequest()
    assert refusal(prediction.Predict, request) == (
        "INVALID_ARGUMENT",
        "Missing ModelSpec",
    )
    request = predict_request()
    request.model_spec.name = ""
    assert refusal(prediction.Predict, request) == (
        "INVALID_ARGUMENT",
        "ModelSpec has no name specified.",
    )
    assert refusal(prediction.Predict, predict_request("x")) == (
        "NOT_FOUND",
        "Servable not found for request: Latest(x)",
    )
    request = predict_request()
    request.model_spec.version.value = 9
    assert refusal(prediction.Predict, request) == (
        "NOT_FOUND",
        "Servable not found for request: Specific(m, 9)",
    )
    request = predict_request()
    request.model_spec.version_label = "canary"
    assert refusal(prediction.Predict, request) == (
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: canary",
    )
    request = predict_request()
    request.model_spec.signature_name = "zz"
    assert refusal(prediction.Predict, request) == (
        "FAILED_PRECONDITION",
        'Serving signature key "zz" not found.',
    )


def test_input_faults(prediction):
    request = predict_request(seed=[1])
    del request.inputs["prompt"]
    code, text = refusal(prediction.Predict, request)
    assert code == "INVALID_ARGUMENT"
    assert text == (
        "Signature input alias: prompt(feed name: serving_default_prompt:0) not found "
        "in request and no default value provided. Inputs expected to be in the "
        "request {seed}, or default input alias set: "
        "guidance_scale,guidance_scale_end,negative_prompt,seed,temperature,top_k,top_p"
    )
    assert refusal(prediction.Predict, predict_request(zz=[1])) == (
        "INVALID_ARGUMENT",
        "Inputs contains invalid name. Used request inputs: prompt, "
        "request input: prompt,zz",
    )
    every_input = {
        alias: tf.make_tensor_proto(tf.zeros([1], dtype).numpy())
        for alias, dtype in INPUTS.items()
    }
    code, text = refusal(prediction.Predict, predict_request(**every_input, zz=[1]))
    assert code == "INVALID_ARGUMENT"
    assert text.startswith("input size does not match signature: 9!=8 len({")
    assert text.endswith("Sent extra: {zz}. Missing but required: {}.")


def test_tensor_faults(prediction):
    request = predict_request(seed=tensor_pb2.TensorProto())
    assert refusal(prediction.Predict, request) == (
        "INVALID_ARGUMENT",
        "tensor parsing error: seed",
    )
    wrong_type = tf.make_tensor_proto([1], tf.int32)
    code, text = refusal(prediction.Predict, predict_request(seed=wrong_type))
    assert code == "INVALID_ARGUMENT"
    assert text.endswith("to be int64 but int32 is provided")
    code, text = refusal(prediction.Predict, predict_request(prompt=[["red"]]))
    assert code == "INVALID_ARGUMENT"
    assert "is not compatible with expected shape" in text
    code, text = refusal(
        prediction.Predict, predict_request(prompt=["red"] * 2, seed=[1])
    )
    assert code == "INVALID_ARGUMENT"
    assert "as many rows as `prompt`" in text


def test_output_faults(prediction):
    request = predict_request()
    request.output_filter.append("zz")
    assert refusal(prediction.Predict, request) == (
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: zz "
        "Outputs expected to be in the set {error,image_bytes}.",
    )
    request = predict_request()
    request.output_filter.extend(["error", "error"])
    assert refusal(prediction.Predict, request) == (
        "INVALID_ARGUMENT",
        "duplicate output tensor alias: error",
    )


def test_deadline(prediction):
    with pytest.raises(grpc.RpcError) as error:
        prediction.Predict(predict_request(prompt=["slow"]), timeout=0.3)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    prediction.Predict(predict_request(), timeout=30)


def metadata_request(name="m", fields=("signature_def",)):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = name
    request.metadata_field.extend(fields)
    return request


def test_metadata(prediction):
    response = prediction.GetModelMetadata(metadata_request())
    assert (response.model_spec.name, response.model_spec.version.value) == ("m", 12)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    signature = signatures.signature_def["serving_default"]
    assert {a: tf.as_dtype(i.dtype) for a, i in signature.inputs.items()} == INPUTS
    shapes = {str(tf.TensorShape(i.tensor_shape)) for i in signature.inputs.values()}
    assert shapes == {"(None,)"}
    assert set(signature.defaults) == set(INPUTS) - {"prompt"}
    assert list(signature.defaults["guidance_scale"].float_val) == [10.0]
    assert list(signature.defaults["top_k"].int_val) == [50]


def test_metadata_faults(prediction):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    assert refusal(prediction.GetModelMetadata, request) == (
        "INVALID_ARGUMENT",
        "Missing ModelSpec",
    )
    assert refusal(prediction.GetModelMetadata, metadata_request(fields=())) == (
        "INVALID_ARGUMENT",
        "GetModelMetadataRequest must specify at least one metadata_field",
    )
    assert refusal(prediction.GetModelMetadata, metadata_request(fields=["x"])) == (
        "INVALID_ARGUMENT",
        "Metadata field x is not supported",
    )
    assert refusal(prediction.GetModelMetadata, metadata_request("x")) == (
        "NOT_FOUND",
        "Servable not found for request: Latest(x)",
    )


def status_request(name="m", version=None):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version
    return request


def test_status(model):
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    for request in (status_request(), status_request(version=12)):
        (status,) = model.GetModelStatus(request).model_version_status
        assert (status.version, status.state) == (12, available)
        assert status.HasField("status") and status.status.error_code == 0


def test_status_faults(model):
    request = get_model_status_pb2.GetModelStatusRequest()
    assert refusal(model.GetModelStatus, request) == (
        "INVALID_ARGUMENT",
        "Missing ModelSpec",
    )
    assert refusal(model.GetModelStatus, status_request("x")) == (
        "NOT_FOUND",
        "Could not find any versions of model x",
    )
    assert refusal(model.GetModelStatus, status_request(version=9)) == (
        "NOT_FOUND",
        "Could not find version 9 of model m",
    )


@pytest.mark.parametrize("service", ["", "ModelService", "PredictionService"])
def test_health(channel, service):
    stub = health_pb2_grpc.HealthStub(channel)
    response = stub.Check(health_pb2.HealthCheckRequest(service=service))
    assert response.status == health_pb2.HealthCheckResponse.SERVING


def test_a_bug_is_a_bare_internal_error(prediction, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("keras_dalle.prediction_service.predict.run_session", fail)
    code, text = refusal(prediction.Predict, predict_request())
    assert (code, text) == ("INTERNAL", "Internal error")


def test_long_texts_are_cut_as_the_stock_server_does(prediction):
    request = predict_request()
    request.output_filter.append("z" * 5000)
    _, text = refusal(prediction.Predict, request)
    assert len(text) == 1024 + len("...TRUNCATED")
    assert text.endswith("z...TRUNCATED")


def test_busy_port(server, base_path):
    with pytest.raises(OSError, match=f"127.0.0.1:{server.port}.*--port 0"):
        PredictionServer(base_path, port=server.port, rest_api_port=None)


@pytest.mark.parametrize(
    "folder, message",
    [
        ("nowhere", "Could not find base path .*nowhere for"),
        ("", "No versions of servable dalle found"),
    ],
    ids=["missing", "empty"],
)
def test_without_polls_a_version_is_not_waited_for(tmp_path, folder, message):
    flags = {"port": 0, "rest_api_port": None, "file_system_poll_wait_seconds": 0}
    with pytest.raises(ServingError, match=message):
        PredictionServer(tmp_path / folder, **flags).start()


def test_damaged_model(tmp_path):
    path = export_toy(tmp_path)
    (path / "saved_model.pb").write_bytes(b"\x00truncated")
    with pytest.raises(
        ServingError, match="DATA_LOSS: Can't parse .*saved_model.pb as"
    ):
        PredictionServer(tmp_path, port=0, rest_api_port=None).start()
