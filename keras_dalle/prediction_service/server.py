"""The embedded server: the stock PredictionService and ModelService, and its REST API.

For laptops, tests and CI. A client cannot tell it from `tensorflow_model_server`, which
production runs. What it holds is in `manager.py`, what is asked of it in `core.py`, how
it refuses in `errors.py`, one Predict in `predict.py`.
"""

import functools
import signal
import threading
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from keras_dalle.prediction_service.batch_scheduler import BatchScheduler
from keras_dalle.prediction_service.batching_options import BatchingOptions
from keras_dalle.prediction_service.batching_session import BatchingSession
from keras_dalle.prediction_service.config_files import (
    read_files,
    read_models,
    read_version_batching,
)
from keras_dalle.prediction_service.core import ServerCore
from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.grpc_log import log_in_lines
from keras_dalle.prediction_service.grpc_services import ModelService, PredictionService
from keras_dalle.prediction_service.loading import SessionWrapper, VersionLoader
from keras_dalle.prediction_service.manager import ServableManager
from keras_dalle.prediction_service.message_parts import BoundedMessages
from keras_dalle.prediction_service.options import ServerOptions
from keras_dalle.prediction_service.periodic import Periodic
from keras_dalle.prediction_service.rest_api import RestApi
from keras_dalle.prediction_service.rest_server import RestServer
from keras_dalle.prediction_service.running_calls import RunningCalls
from keras_dalle.prediction_service.servables import Session
from keras_dalle.prediction_service.session import SavedModelSession
from keras_dalle.prediction_service.session_config import session_config
from keras_dalle.saved_model.card_file import needed_server_flags

MAX_SENT_BYTES = 2**31 - 1
# The stock server takes 2 GB. Python reads a message under its lock, at 10 ms a MB of
# numbers, and gzip packs a thousand bytes to one.
MAX_RECEIVED_BYTES = 64 * 2**20
# Calls that wait for a thread; what goes beyond is refused with RESOURCE_EXHAUSTED.
MAX_WAITING_CALLS = 1000
SHUTDOWN_GRACE_S = 30.0
# For answers to calls that came while the others finished, and to watchers of health.
LAST_GRACE_S = 1.0
HEALTH_SERVICES = ("", "ModelService", "PredictionService")


class PredictionServer:
    """Serves models over gRPC and REST.

    Args:
        base_path: The folder that holds a model's version folders.
        **flags: The fields of `ServerOptions`.

    Raises:
        ServingError: A model cannot be found or loaded.
        ValueError: A flag or a configuration file is wrong.
        OSError: A port is in use.
    """

    def __init__(self, base_path: str | Path | None = None, **flags: Any):
        if base_path is not None:
            flags["model_base_path"] = Path(base_path)
        self._options = options = ServerOptions(**flags)
        files = read_files(options)
        self._models = files.models
        self._health = health.HealthServicer()
        self._calls = RunningCalls()
        log_in_lines()
        self._server = grpc.server(
            futures.ThreadPoolExecutor(options.grpc_max_threads),
            interceptors=[self._calls, BoundedMessages()],
            maximum_concurrent_rpcs=options.grpc_max_threads + MAX_WAITING_CALLS,
            # Of two arguments with one name gRPC takes the first.
            options=[
                *options.channel_arguments(),
                ("grpc.max_send_message_length", MAX_SENT_BYTES),
                ("grpc.max_receive_message_length", MAX_RECEIVED_BYTES),
                # With it two servers would share a port, and each get half the calls.
                ("grpc.so_reuseport", 0),
            ],
        )
        # The ports first: a busy one is known before a model is loaded.
        self.port = _bind(self._server, options, files.tls)
        self._scheduler: BatchScheduler | None = None
        self._manager = ServableManager(
            self._loader(files.batching),
            options.max_num_load_retries,
            options.load_retry_interval_micros / 1e6,
        )
        self._core = ServerCore(
            self._manager, options.allow_version_labels_for_unavailable_models
        )
        self._rest = self._rest_server(files.metrics_path)
        self.rest_api_port = None if self._rest is None else self._rest.port
        self._periodic: list[Periodic] = []
        self._add_services()
        try:
            self._core.reload(self._models)
        except ServingError:
            self.stop(grace=0)
            raise

    def start(self) -> None:
        """Begins to answer, and to look for new versions, in threads of its own."""
        self._server.start()
        if self._rest is not None:
            self._rest.start()
        for service in HEALTH_SERVICES:
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self._periodic = [
            Periodic(
                self._core.poll,
                self._options.file_system_poll_wait_seconds,
                "Looking for new versions",
            ),
            Periodic(
                self._reload_changed_config,
                self._options.model_config_file_poll_wait_seconds,
                "Reading the configuration anew",
            ),
        ]

    def stop(self, grace: float = SHUTDOWN_GRACE_S) -> None:
        """Refuses new calls, lets running ones finish, and frees the models.

        Args:
            grace: Seconds after which running calls are cancelled.
        """
        self._health.enter_graceful_shutdown()
        self._calls.refuse()
        end = time.monotonic() + grace
        if self._rest is not None:
            self._rest.stop(grace)
        self._calls.wait(end - time.monotonic())
        self._server.stop(min(grace, LAST_GRACE_S)).wait()
        for periodic in self._periodic:
            periodic.stop()
        self._manager.close()
        if self._scheduler is not None:
            self._scheduler.close()

    def versions(self) -> dict[str, list[int]]:
        """The available versions of each configured model, latest first."""
        return {
            model.name: [
                version
                for version in self._manager.states(model.name)
                if self._manager.is_available(model.name, version)
            ]
            for model in self._models.model_config_list.config
        }

    def needed_flags(self) -> list[str]:
        """What the stock server must be given to run these versions: `--name=value`."""
        flags = {
            flag: None
            for model in self._models.model_config_list.config
            for state in self._manager.states(model.name).values()
            if state.servable is not None
            for flag in needed_server_flags(state.path)
        }
        return list(flags)

    def _loader(self, batching: BatchingOptions | None) -> VersionLoader:
        options = self._options
        warmups = options.num_request_iterations_for_warmup or 1
        return VersionLoader(
            self._wrapper(batching),
            warmups if options.enable_model_warmup else 0,
            session_config(options),
            options.saved_model_tags.split(","),
            options.enable_signature_method_name_check,
        )

    def _wrapper(self, batching: BatchingOptions | None) -> SessionWrapper:
        """What makes a session of a loaded version."""
        if batching is None:
            return lambda session, _: session
        self._scheduler = scheduler = BatchScheduler(
            batching.num_batch_threads, batching.thread_pool_name
        )

        def wrap(session: SavedModelSession, path: Path) -> Session:
            own: BatchingOptions | None = batching
            if self._options.enable_per_model_batching_parameters:
                own = read_version_batching(path)
            if own is None:
                return session
            return BatchingSession(session, scheduler, own)

        return wrap

    def _rest_server(self, metrics_path: str | None) -> RestServer | None:
        options = self._options
        if options.rest_api_port is None:
            return None
        api = RestApi(
            self._core,
            options.rest_api_timeout_in_ms,
            metrics_path,
            options.rest_api_enable_cors_support,
        )
        return RestServer(
            api, options.host, options.rest_api_port, options.rest_api_num_threads
        )

    def _add_services(self) -> None:
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(
                self._core, self._options.enable_serialization_as_tensor_content
            ),
            self._server,
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelService(self._core), self._server
        )
        if self._options.enable_grpc_healthcheck_service:
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    def _reload_changed_config(self) -> None:
        models = read_models(self._options)
        if models != self._models:
            self._core.reload(models)
            self._models = models


def stop_signal() -> threading.Event:
    """An event that SIGTERM or SIGINT sets from now on. For the main thread."""
    signalled = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: signalled.set())
    return signalled


def _bind(server: grpc.Server, options: ServerOptions, tls: Any | None) -> int:
    host = f"[{options.host}]" if ":" in options.host else options.host
    address = f"{host}:{options.port}"
    add_port: Callable[[str], int] = server.add_insecure_port
    if tls is not None:
        add_port = functools.partial(
            server.add_secure_port, server_credentials=_credentials(tls)
        )
    try:
        port = add_port(address)
        if options.grpc_socket_path is not None:
            address = f"unix:{options.grpc_socket_path}"
            add_port(address)
        return port
    except RuntimeError as error:
        certificate = ", or key and certificate do not fit" if tls is not None else ""
        raise OSError(
            f"Cannot listen on {address}: the port is in use or not permitted"
            f"{certificate}. Choose another with --port, or --port 0 for any free one."
        ) from error


def _credentials(tls: Any) -> grpc.ServerCredentials:
    """Those of an SSLConfig: TLS, or mutual TLS where clients are verified."""
    return grpc.ssl_server_credentials(
        [(tls.server_key.encode(), tls.server_cert.encode())],
        tls.custom_ca.encode() or None,
        require_client_auth=tls.client_verify,
    )
