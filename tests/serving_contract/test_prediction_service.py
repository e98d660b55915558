"""PredictionService, after TF Serving's tensorflow_model_server_test.py."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.types_pb2 import DT_RESOURCE, DT_VARIANT, DataType
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from tests.serving_contract.models import VERSION
from tests.serving_contract.running_server import predict_request, refusal

INVALID = "INVALID_ARGUMENT"


def check_spec(spec, signature, name="half_plus_two"):
    assert (spec.name, spec.signature_name) == (name, signature)
    assert spec.version.value == VERSION


@pytest.mark.parametrize("signature", ["", "serving_default"])
@pytest.mark.parametrize("output_filter", [[], ["y"]])
@pytest.mark.parametrize("name, y", [("half_plus_two", 3.0), ("half_plus_three", 4.0)])
def test_predict(server, name, y, signature, output_filter):
    request = predict_request(name, x=[2.0], signature=signature)
    request.output_filter.extend(output_filter)
    response = server.prediction.Predict(request, timeout=30)
    assert list(response.outputs) == ["y"]
    assert response.outputs["y"].dtype == tf.float32.as_datatype_enum
    assert list(response.outputs["y"].float_val) == [y]
    check_spec(response.model_spec, "serving_default", name)


def test_predict_of_a_version(server):
    assert server.y_of([2.0, 4.0, 6.0], version=VERSION) == [3.0, 4.0, 5.0]


def test_predict_fills_in_defaults(server):
    response = server.prediction.Predict(predict_request("echo", text=["a"]))
    assert list(response.outputs["number"].int64_val) == [7]
    assert list(response.outputs["text"].string_val) == [b"a"]


def test_operations_of_tensorflow_text(server):
    request = predict_request("words", text=["one  two", "", " vier "])
    outputs = server.prediction.Predict(request, timeout=30).outputs
    assert list(outputs["count"].int64_val) == [2, 0, 1]
    assert list(outputs["words"].string_val) == [b"one", b"two", b"", b"", b"vier", b""]


def test_strings_are_any_bytes(server):
    texts = [b"", b"\x00\xff", "\u2764".encode(), b"x" * 1000]
    request = predict_request("echo", text=texts, number=[1, 2, 3, 4])
    response = server.prediction.Predict(request)
    assert list(response.outputs["text_bytes"].string_val) == texts
    assert list(response.outputs["number"].int64_val) == [1, 2, 3, 4]


def test_messages_beyond_the_usual_limit(server):
    text = b"x" * 6_000_000
    response = server.prediction.Predict(predict_request("echo", text=[text]))
    assert response.outputs["text"].string_val[0] == text


def test_a_client_has_a_limit_of_its_own(server):
    """The server takes and sends as much; 4 MB is what a client reads unless told."""
    request = predict_request("echo", text=[b"x" * 6_000_000])
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        code, text = refusal(stub.Predict, request)
        assert code == "RESOURCE_EXHAUSTED"
        assert "eceived message larger than max (" in text and "vs. 4194304)" in text
        request.output_filter.append("number")
        assert list(stub.Predict(request).outputs["number"].int64_val) == [7]


@pytest.mark.parametrize(
    "call, request_class, kind",
    [
        ("Classify", classification_pb2.ClassificationRequest, "classification"),
        ("Regress", regression_pb2.RegressionRequest, "regression"),
    ],
    ids=["classify", "regress"],
)
def test_models_for_predict_take_no_examples(server, call, request_class, kind):
    call = getattr(server.prediction, call)
    request = request_class()
    request.input.example_list.examples.add()
    assert refusal(call, request) == (INVALID, "Missing ModelSpec")
    request.model_spec.name = "half_plus_three"
    code, text = refusal(call, request)
    assert code == INVALID
    assert text.startswith(f"No {kind} inputs found in SignatureDef: inputs {{")
    request.model_spec.signature_name = "zz"
    text = "No signature was found with the name: zz"
    assert refusal(call, request) == (INVALID, text)
    request.model_spec.name = "echo"
    request.model_spec.signature_name = ""
    assert refusal(call, request) == (INVALID, "Expected one input Tensor.")
    request.model_spec.name = "nobody"
    text = "Servable not found for request: Latest(nobody)"
    assert refusal(call, request) == ("NOT_FOUND", text)


@pytest.mark.parametrize(
    "tasks, code, text",
    [
        ([], INVALID, "ModelSpec has no name specified."),
        ([("echo", "", "classify")], INVALID, "Expected one input Tensor."),
        (
            [("half_plus_two", "zz", "regress")],
            INVALID,
            "Requested signature not found in model graph: zz",
        ),
        (
            [("half_plus_two", "", "guess")],
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/guess",
        ),
    ],
    ids=["none", "inputs", "signature", "method"],
)
def test_multi_inference(server, tasks, code, text):
    request = inference_pb2.MultiInferenceRequest()
    for name, signature, method in tasks:
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name = name
        task.model_spec.signature_name = signature
    assert refusal(server.prediction.MultiInference, request) == (code, text)


def test_spec_faults(server):
    def refused(**spec):
        request = predict_request("half_plus_two", x=[2.0])
        version = spec.pop("version", None)
        request.model_spec.Clear()
        request.model_spec.MergeFrom(type(request.model_spec)(**spec))
        if version is not None:
            request.model_spec.version.value = version
        return refusal(server.prediction.Predict, request)

    assert refusal(server.prediction.Predict, predict_pb2.PredictRequest()) == (
        INVALID,
        "Missing ModelSpec",
    )
    assert refused(signature_name="x") == (INVALID, "ModelSpec has no name specified.")
    name = "half_plus_two"
    assert refused(name="zz") == (
        "NOT_FOUND",
        "Servable not found for request: Latest(zz)",
    )
    assert refused(name=name, version=9) == (
        "NOT_FOUND",
        f"Servable not found for request: Specific({name}, 9)",
    )
    assert refused(name=name, version_label="canary") == (
        INVALID,
        "Unrecognized servable version label: canary",
    )
    assert refused(name=name, signature_name="zz") == (
        "FAILED_PRECONDITION",
        'Serving signature key "zz" not found.',
    )


def test_input_faults(server):
    def refused(name="half_plus_two", **inputs):
        return refusal(server.prediction.Predict, predict_request(name, **inputs))

    assert refused() == (
        INVALID,
        "input size does not match signature: 0!=1 len({}) != len({x}). "
        "Sent extra: {}. Missing but required: {x}.",
    )
    assert refused(x=[2.0], z=[2.0]) == (
        INVALID,
        "input size does not match signature: 2!=1 len({x,z}) != len({x}). "
        "Sent extra: {z}. Missing but required: {}.",
    )
    code, text = refused("echo", number=[1])
    assert code == INVALID
    assert text.startswith("Signature input alias: text(feed name: ")
    assert refused(x=tf.constant([1])) == (
        INVALID,
        "Expects arg[0] to be float but int32 is provided",
    )
    assert refused("echo", text=["a"], number=np.float64([1.0])) == (
        INVALID,
        "Expects arg[0] to be int64 but double is provided",
    )
    assert refused("echo", text=np.complex64([1]), number=[1]) == (
        INVALID,
        "Expects arg[1] to be string but complex64 is provided",
    )


@pytest.mark.parametrize("dtype", [0, 33, 101, 107, 121, 2**31 - 1])
def test_what_is_no_dtype_of_a_tensor(server, dtype):
    request = predict_request("half_plus_two")
    request.inputs["x"].dtype = dtype
    request.inputs["x"].tensor_shape.SetInParent()
    assert refusal(server.prediction.Predict, request) == (
        INVALID,
        "tensor parsing error: x",
    )


@pytest.mark.parametrize("dtype", [DT_VARIANT, DT_RESOURCE])
@pytest.mark.parametrize("kind", ["tensorflow::Tensor", "tensorflow::TensorMap", "zz"])
def test_tensors_that_no_request_may_hold(server, dtype, kind):
    """Parsing some of them would end the process."""
    request = predict_request("half_plus_two")
    proto = request.inputs["x"]
    proto.dtype = dtype
    proto.tensor_shape.SetInParent()
    proto.variant_val.add(type_name=kind, metadata=b"\xff")
    proto.resource_handle_val.add(device="/cpu:0", name=kind)
    name = DataType.Name(dtype).removeprefix("DT_").lower()
    assert refusal(server.prediction.Predict, request) == (
        INVALID,
        f"Expects arg[0] to be float but {name} is provided",
    )
    assert server.y_of([2.0]) == [3.0]


def test_output_faults(server):
    def refused(*output_filter):
        request = predict_request("echo", text=["a"])
        request.output_filter.extend(output_filter)
        return refusal(server.prediction.Predict, request)

    assert refused("zz") == (
        INVALID,
        "output tensor alias not found in signature: zz "
        "Outputs expected to be in the set {number,text,text_bytes}.",
    )
    assert refused("text", "text") == (INVALID, "duplicate output tensor alias: text")


def test_an_error_of_the_graph(server):
    code, text = refusal(
        server.prediction.Predict, predict_request("echo", text=["bad"])
    )
    assert code == INVALID
    assert "`text` must not be bad" in text


def test_deadline(server):
    request = predict_request("slow", x=[1.0])
    code, _ = refusal(server.prediction.Predict, request, timeout=0.3)
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED.name
    # It stopped the work as well.
    assert server.y_of([0.0], "slow") == [0.0]


def metadata_request(name="half_plus_two", fields=("signature_def",)):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = name
    request.metadata_field.extend(fields)
    return request


def test_metadata(server):
    response = server.prediction.GetModelMetadata(metadata_request(), timeout=30)
    assert response.model_spec.name == "half_plus_two"
    assert response.model_spec.version.value == VERSION
    assert list(response.metadata) == ["signature_def"]
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    assert "serving_default" in signatures.signature_def


def test_metadata_faults(server):
    def refused(request):
        return refusal(server.prediction.GetModelMetadata, request)

    no_spec = get_model_metadata_pb2.GetModelMetadataRequest()
    assert refused(no_spec) == (INVALID, "Missing ModelSpec")
    assert refused(metadata_request(fields=())) == (
        INVALID,
        "GetModelMetadataRequest must specify at least one metadata_field",
    )
    assert refused(metadata_request(fields=["x"])) == (
        INVALID,
        "Metadata field x is not supported",
    )
    assert refused(metadata_request("zz")) == (
        "NOT_FOUND",
        "Servable not found for request: Latest(zz)",
    )
