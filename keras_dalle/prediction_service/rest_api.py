"""The REST API: from a method, a path and a body to a status and a body.

`rest_server.py` speaks HTTP around it.
"""

import dataclasses
import functools
import logging
import re
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import grpc
from google.protobuf import json_format
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)
from tensorflow_serving.apis.model_pb2 import ModelSpec

from keras_dalle.prediction_service import errors, metrics
from keras_dalle.prediction_service.core import SIGNATURE_DEF, ServerCore
from keras_dalle.prediction_service.errors import ServingError
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

ENTRYPOINT = "REST"
JSON, TEXT = "application/json", "text/plain"
_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_CALL = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)",
    re.IGNORECASE,
)
_ABOUT = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?:/(?P<method>metadata))?",
    re.IGNORECASE,
)
_API_PATH = re.compile(r"/v1/.*", re.IGNORECASE)
_MAX_VERSION = 2**63 - 1
_CORS_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}
HTTP_STATUS = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What goes back over HTTP."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class _Call:
    """What a path asks for."""

    spec: ModelSpec
    method: str
    body: bytes


class RestApi:
    """Answers requests, of several threads at once.

    Args:
        core: The models.
        timeout_ms: Of a call.
        metrics_path: Where the metrics are; None for nowhere.
        allows_cors: Whether pages of other sites may call.
    """

    def __init__(
        self,
        core: ServerCore,
        timeout_ms: int,
        metrics_path: str | None = None,
        allows_cors: bool = False,
    ):
        self._core = core
        self._timeout_ms = timeout_ms
        self._metrics_path = metrics_path
        self._headers = _CORS_HEADERS if allows_cors else {}
        self._methods: dict[str, Callable[[_Call], bytes]] = {
            "predict": self._predict,
            "classify": functools.partial(self._refuse_examples, CLASSIFY),
            "regress": functools.partial(self._refuse_examples, REGRESS),
            "metadata": self._metadata,
            "": self._status,
        }

    def __call__(self, method: str, path: str, body: bytes) -> Answer:
        """The answer to a request, whatever it is."""
        path = path.partition("?")[0]
        if self._metrics_path is not None and path == self._metrics_path:
            return Answer(200, metrics.page().encode(), TEXT)
        if not _API_PATH.fullmatch(path):
            return error_answer(404, f"Not found: {path}")
        if method == "OPTIONS":
            return Answer(200, b"", headers=self._headers)
        return dataclasses.replace(
            self._answer(method, path, body), headers=self._headers
        )

    def _answer(self, method: str, path: str, body: bytes) -> Answer:
        start = time.perf_counter()
        code, name = grpc.StatusCode.OK, ""
        try:
            call = _parsed(method, path, body)
            name = call.spec.name
            answered = self._methods[call.method](call)
        except ServingError as error:
            code, message = error.code, error.message
        except Exception:
            _logger.exception("%s %s failed", method, path)
            code, message = grpc.StatusCode.INTERNAL, errors.BUG
        metrics.REQUEST_COUNT.increment(name, code.name)
        if code != grpc.StatusCode.OK:
            return error_answer(HTTP_STATUS.get(code, 500), message)
        microseconds = (time.perf_counter() - start) * 1e6
        metrics.REQUEST_LATENCY.observe(microseconds, name, call.method, ENTRYPOINT)
        return Answer(200, answered)

    def _predict(self, call: _Call) -> bytes:
        request = predict_pb2.PredictRequest()
        request.model_spec.CopyFrom(call.spec)
        document = parse_json(call.body)
        with self._core.use(request.model_spec) as servable:

            def inputs_of(_: str) -> Mapping[str, TensorInfo]:
                return _inputs(servable, request.model_spec)

            layout = fill_predict_request(document, request, inputs_of)
            outputs = predict_arrays(servable, request, self._timeout_ms)
        return answer(outputs, layout)

    def _refuse_examples(self, method: str, call: _Call) -> NoReturn:
        document = parse_json(call.body)
        fill_signature_name(document, call.spec)
        require_examples(document)
        with self._core.use(call.spec) as servable:
            refuse_examples(servable, call.spec, method)

    def _status(self, call: _Call) -> bytes:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.CopyFrom(_named(call.spec))
        return to_bytes(_json_of_proto(self._core.status(request)))

    def _metadata(self, call: _Call) -> bytes:
        request = get_model_metadata_pb2.GetModelMetadataRequest()
        request.model_spec.CopyFrom(_named(call.spec))
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


def error_answer(status: int, message: str) -> Answer:
    return Answer(status, to_bytes({"error": message}))


def _parsed(method: str, path: str, body: bytes) -> _Call:
    """What is asked for.

    Raises:
        ServingError: There is nothing of that kind.
    """
    match = {"POST": _CALL, "GET": _ABOUT}.get(method, _CALL).fullmatch(path)
    if match is None or method not in ("POST", "GET"):
        raise errors.invalid_argument(f"Malformed request: {method} {path}")
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
    return _Call(spec, (match["method"] or "").lower(), body)


def _named(spec: ModelSpec) -> ModelSpec:
    if not spec.name:
        raise errors.invalid_argument("Missing model name in request.")
    return spec


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
