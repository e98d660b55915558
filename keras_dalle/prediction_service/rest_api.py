"""The REST API: from a path and the body of a request to the body of an answer.

`rest_app.py` runs it in threads.
"""

import dataclasses
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)
from tensorflow_serving.apis.model_pb2 import ModelSpec

from keras_dalle.prediction_service import errors
from keras_dalle.prediction_service.core import SIGNATURE_DEF, ServerCore
from keras_dalle.prediction_service.example_calls import (
    CLASSIFY,
    REGRESS,
    refuse_examples,
)
from keras_dalle.prediction_service.json_answers import answer, to_bytes
from keras_dalle.prediction_service.json_tensors import (
    fill_predict_request,
    fill_signature_name,
    parse_json,
    require_examples,
)
from keras_dalle.prediction_service.predict import predict_arrays, signature_name_of
from keras_dalle.prediction_service.servables import Servable

METADATA = "metadata"
_EXAMPLE_METHODS = {"classify": CLASSIFY, "regress": REGRESS}
_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_CALL = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)",
    re.IGNORECASE | re.ASCII,
)
_ABOUT = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?:/(?P<method>metadata))?",
    re.IGNORECASE | re.ASCII,
)
_API_PATH = re.compile(r"/v1/.*", re.IGNORECASE)
_MAX_VERSION = 2**63 - 1


@dataclasses.dataclass(frozen=True)
class Call:
    """What a path asks for."""

    spec: ModelSpec = dataclasses.field(default_factory=ModelSpec)
    method: str = ""


class RestApi:
    """The answers, for several threads at once.

    Args:
        core: The models.
        timeout_ms: Of a call.
    """

    def __init__(self, core: ServerCore, timeout_ms: int):
        self._core = core
        self._timeout_ms = timeout_ms

    def about(self, call: Call) -> bytes:
        """Returns the answer about a model: its status, or its signatures.

        Raises:
            ServingError: There is no such model.
        """
        if not call.spec.name:
            raise errors.invalid_argument("Missing model name in request.")
        return self._metadata(call) if call.method == METADATA else self._status(call)

    def prepared(
        self, call: Call, body: bytes
    ) -> tuple[predict_pb2.PredictRequest, str]:
        """Parses a body into a request, and finds the layout of its answer.

        Raises:
            ServingError: It is no request, or it is for another call than Predict.
        """
        request = predict_pb2.PredictRequest(model_spec=call.spec)
        document = parse_json(body)
        fill_signature_name(document, request.model_spec)
        if call.method in _EXAMPLE_METHODS:
            require_examples(document)
        with self._core.use(request.model_spec) as servable:
            if call.method in _EXAMPLE_METHODS:
                method = _EXAMPLE_METHODS[call.method]
                refuse_examples(servable, request.model_spec, method)
            inputs = _inputs(servable, request.model_spec)
        return request, fill_predict_request(document, request, inputs)

    def predicted(self, request: predict_pb2.PredictRequest, layout: str) -> bytes:
        """Returns the body of the answer to a request.

        Raises:
            ServingError: See `predict`.
        """
        with self._core.use(request.model_spec) as servable:
            outputs = predict_arrays(servable, request, self._timeout_ms)
        return answer(outputs, layout)

    def _status(self, call: Call) -> bytes:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.CopyFrom(call.spec)
        return to_bytes(_json_of_proto(self._core.status(request)))

    def _metadata(self, call: Call) -> bytes:
        request = get_model_metadata_pb2.GetModelMetadataRequest()
        request.model_spec.CopyFrom(call.spec)
        request.metadata_field.append(SIGNATURE_DEF)
        response = self._core.metadata(request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[SIGNATURE_DEF].Unpack(signatures)
        return to_bytes(
            {
                "model_spec": _json_of_proto(response.model_spec),
                "metadata": {SIGNATURE_DEF: _json_of_proto(signatures)},
            }
        )


def is_api_path(target: str) -> bool:
    return _API_PATH.fullmatch(target) is not None


def parsed(method: str, target: str) -> Call:
    """What is asked for.

    Args:
        method: The HTTP method.
        target: The path as it was sent, with its query.

    Raises:
        ServingError: There is nothing of that kind.
    """
    pattern = {"POST": _CALL, "GET": _ABOUT}.get(method)
    match = pattern and pattern.fullmatch(target)
    if match is None:
        raise errors.invalid_argument(f"Malformed request: {method} {target}")
    spec = ModelSpec(name=urllib.parse.unquote(match["name"] or ""))
    if match["version"]:
        version = int(match["version"]) if len(match["version"]) < 20 else None
        if version is None or version > _MAX_VERSION:
            raise errors.invalid_argument(
                f"Failed to convert version: {match['version']} to numeric."
            )
        spec.version.value = version
    if match["label"]:
        spec.version_label = urllib.parse.unquote(match["label"])
    return Call(spec, (match["method"] or "").lower())


def _inputs(servable: Servable, spec: ModelSpec) -> Mapping[str, TensorInfo]:
    name = signature_name_of(spec)
    if name not in servable.session.signatures:
        raise errors.invalid_argument(
            f'Serving signature name: "{name}" not found in signature def'
        )
    inputs = servable.session.signatures[name].inputs
    if not inputs:
        raise errors.invalid_argument(
            f"Failed to get input map for signature: {spec.signature_name or 'DEFAULT'}"
        )
    return inputs


def _json_of_proto(message: Any) -> Any:
    return json_format.MessageToDict(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
