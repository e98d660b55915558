"""PredictionService and ModelService over gRPC."""

import functools
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import grpc
from tensorflow_serving.apis import (
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from keras_dalle.prediction_service import errors, metrics
from keras_dalle.prediction_service.core import ServerCore
from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.example_calls import (
    CLASSIFY,
    REGRESS,
    refuse_examples,
    refuse_multi_inference,
)
from keras_dalle.prediction_service.predict import predict
from keras_dalle.prediction_service.servables import Servable

MAX_TIMEOUT_MS = 2**31 - 1
ENTRYPOINT = "GRPC"

_logger = logging.getLogger(__name__)


def _refusing(method: Callable) -> Callable:
    """Turns a `ServingError` into a gRPC status, and any bug into a bare INTERNAL."""

    @functools.wraps(method)
    def call(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except ServingError as error:
            code, message = error.code, errors.truncated(error.message)
        except Exception:
            _logger.exception("%s failed", method.__name__)
            code, message = grpc.StatusCode.INTERNAL, errors.BUG
        context.abort(code, message)

    return call


def _counted(method: Callable) -> Callable:
    """Counts calls by model and status, and times those that succeed."""

    @functools.wraps(method)
    def call(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        start = time.perf_counter()
        status = grpc.StatusCode.INTERNAL.name
        name = request.model_spec.name
        try:
            response = method(self, request, context)
            status = grpc.StatusCode.OK.name
        except ServingError as error:
            status = error.code.name
            raise
        finally:
            metrics.REQUEST_COUNT.increment(name, status)
        metrics.REQUEST_LATENCY.observe(
            (time.perf_counter() - start) * 1e6, name, method.__name__, ENTRYPOINT
        )
        return response

    return call


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Args:
    core: The models.
    as_content: Whether Predict answers with packed bytes.
    """

    def __init__(self, core: ServerCore, as_content: bool = False):
        self._core = core
        self._predict = functools.partial(predict, as_content=as_content)

    @_refusing
    @_counted
    def Predict(self, request, context):
        with self._servable(request) as servable:
            return self._predict(servable, request, _timeout_ms(context))

    @_refusing
    @_counted
    def Classify(self, request, context):
        with self._servable(request) as servable:
            refuse_examples(servable, request.model_spec, CLASSIFY)

    @_refusing
    @_counted
    def Regress(self, request, context):
        with self._servable(request) as servable:
            refuse_examples(servable, request.model_spec, REGRESS)

    @_refusing
    def MultiInference(self, request, context):
        spec = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
        with self._core.use(spec) as servable:
            refuse_multi_inference(servable, request)

    @_refusing
    def GetModelMetadata(self, request, context):
        return self._core.metadata(request)

    def _servable(self, request: Any) -> AbstractContextManager[Servable]:
        if not request.HasField("model_spec"):
            raise errors.missing_model_spec()
        return self._core.use(request.model_spec)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, core: ServerCore):
        self._core = core

    @_refusing
    def GetModelStatus(self, request, context):
        return self._core.status(request)

    @_refusing
    def HandleReloadConfigRequest(self, request, context):
        self._core.reload(request.config)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        return response


def _timeout_ms(context: grpc.ServicerContext) -> int:
    """Milliseconds until the caller's deadline, as the session takes them."""
    remaining_s = context.time_remaining()
    if remaining_s is None:
        return 0
    if remaining_s <= 0:
        raise errors.deadline_exceeded()
    return min(max(1, int(remaining_s * 1000)), MAX_TIMEOUT_MS)
