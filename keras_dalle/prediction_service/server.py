"""The embedded gRPC server: the stock PredictionService and ModelService.

For laptops, tests and CI. A client cannot tell it from `tensorflow_model_server`,
which production runs. What it holds is in `servables.py`, how it refuses in
`errors.py`, one Predict in `predict.py`.
"""

import functools
import logging
import os
import signal
import threading
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from keras_dalle.prediction_service import errors
from keras_dalle.prediction_service.predict import predict
from keras_dalle.prediction_service.servables import Servables, load_latest

MAX_MESSAGE_BYTES = 2**31 - 1
MAX_TIMEOUT_MS = 2**31 - 1
SHUTDOWN_GRACE_S = 30.0
HEALTH_SERVICES = ("", "ModelService", "PredictionService")
SIGNATURE_DEF = "signature_def"

_logger = logging.getLogger(__name__)


class PredictionServer:
    """Serves the latest version of one model over gRPC.

    Args:
        base_path: The folder that holds the version folders.
        model_name: The name that clients put into `ModelSpec`.
        host: The address to listen on. The default is reachable from this machine
            alone; there is no authentication.
        port: The port to listen on; 0 takes any free one.

    Raises:
        ServingError: The model cannot be found or loaded.
        OSError: The port is in use.
    """

    def __init__(
        self,
        base_path: str | Path,
        model_name: str = "dalle",
        host: str = "127.0.0.1",
        port: int = 8500,
    ):
        self.model_name = model_name
        self._servables = Servables()
        self._health = health.HealthServicer()
        self._server = grpc.server(
            # The stock server's default for --grpc_max_threads.
            futures.ThreadPoolExecutor(4 * (os.cpu_count() or 1)),
            options=[
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                # With it two servers would share a port, and each get half the calls.
                ("grpc.so_reuseport", 0),
            ],
        )
        # The port first: a busy one is known before a model is loaded.
        self.port = _bind(self._server, host, port)
        servable = load_latest(model_name, base_path)
        self.version = servable.version
        self._servables.add(servable)
        self._add_services()

    def start(self) -> None:
        """Begins to answer, in threads of its own."""
        self._server.start()
        for service in HEALTH_SERVICES:
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    def stop(self, grace: float = SHUTDOWN_GRACE_S) -> None:
        """Refuses new calls, lets running ones finish, and frees the model.

        Args:
            grace: Seconds after which running calls are cancelled.
        """
        self._health.enter_graceful_shutdown()
        self._server.stop(grace).wait()
        self._servables.close()

    def _add_services(self) -> None:
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _PredictionService(self._servables), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            _ModelService(self._servables), self._server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)


def stop_signal() -> threading.Event:
    """An event that SIGTERM or SIGINT sets from now on. For the main thread."""
    signalled = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: signalled.set())
    return signalled


def _bind(server: grpc.Server, host: str, port: int) -> int:
    try:
        return server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(
            f"Cannot listen on {host}:{port}: the port is in use or not permitted. "
            "Choose another with --port, or --port 0 for any free one."
        ) from error


def _refusing(method: Callable) -> Callable:
    """Turns a `ServingError` into a gRPC status, and any bug into a bare INTERNAL."""

    @functools.wraps(method)
    def call(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            if not request.HasField("model_spec"):
                raise errors.missing_model_spec()
            return method(self, request, context)
        except errors.ServingError as error:
            code, message = error.code, errors.truncated(error.message)
        except Exception:
            _logger.exception("%s failed", method.__name__)
            code, message = grpc.StatusCode.INTERNAL, "Internal error"
        context.abort(code, message)

    return call


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, servables: Servables):
        self._servables = servables

    @_refusing
    def Predict(self, request, context):
        servable = self._servables.find(request.model_spec)
        return predict(servable, request, _timeout_ms(context))

    @_refusing
    def GetModelMetadata(self, request, context):
        if not request.metadata_field:
            raise errors.no_metadata_field()
        for field in request.metadata_field:
            if field != SIGNATURE_DEF:
                raise errors.unknown_metadata_field(field)
        servable = self._servables.find(request.model_spec)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in servable.session.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = servable.name
        response.model_spec.version.value = servable.version
        response.metadata[SIGNATURE_DEF].Pack(signatures)
        return response


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, servables: Servables):
        self._servables = servables

    @_refusing
    def GetModelStatus(self, request, context):
        response = get_model_status_pb2.GetModelStatusResponse()
        for version in self._servables.versions(request.model_spec):
            status = response.model_version_status.add()
            status.version = version
            status.state = get_model_status_pb2.ModelVersionStatus.AVAILABLE
            status.status.SetInParent()
        return response


def _timeout_ms(context: grpc.ServicerContext) -> int:
    """Milliseconds until the caller's deadline, as the session takes them."""
    remaining_s = context.time_remaining()
    if remaining_s is None:
        return 0
    if remaining_s <= 0:
        raise errors.deadline_exceeded()
    return min(max(1, int(remaining_s * 1000)), MAX_TIMEOUT_MS)
