"""The embedded server: the stock PredictionService and ModelService, and its REST API.

For laptops, tests and CI; production runs `tensorflow_model_server`. docs/serving.md
lists the differences. `manager.py` holds the models, `core.py` answers questions about
them, `errors.py` makes the refusals, and `predict.py` runs one Predict.
"""

import logging
import signal
import threading
import time
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from keras_dalle.prediction_service import errors
from keras_dalle.prediction_service.batch_scheduler import BatchScheduler
from keras_dalle.prediction_service.batching_options import BatchingOptions
from keras_dalle.prediction_service.batching_session import BatchingSession
from keras_dalle.prediction_service.config_files import (
    read_files,
    read_models,
    read_version_batching,
)
from keras_dalle.prediction_service.core import ServerCore
from keras_dalle.prediction_service.grpc_log import log_in_lines
from keras_dalle.prediction_service.grpc_services import ModelService, PredictionService
from keras_dalle.prediction_service.loading import SessionWrapper, VersionLoader
from keras_dalle.prediction_service.manager import ServableManager
from keras_dalle.prediction_service.message_parts import BoundedMessages
from keras_dalle.prediction_service.options import ServerOptions
from keras_dalle.prediction_service.periodic import Periodic
from keras_dalle.prediction_service.ports import ReservedPort, check_socket_path
from keras_dalle.prediction_service.rest_api import RestApi
from keras_dalle.prediction_service.rest_server import RestServer
from keras_dalle.prediction_service.running_calls import RunningCalls
from keras_dalle.prediction_service.servables import Session
from keras_dalle.prediction_service.session import SavedModelSession
from keras_dalle.prediction_service.session_config import session_config
from keras_dalle.saved_model.card_file import needed_server_flags

MAX_SENT_BYTES = 2**31 - 1
# The stock server takes 2 GB. Python reads a message under its lock, 10 ms per MB of
# numbers, and gzip packs a thousand bytes into one.
MAX_RECEIVED_BYTES = 64 * 2**20
# Calls that wait for a thread; what goes beyond is refused with RESOURCE_EXHAUSTED.
MAX_WAITING_CALLS = 1000
SHUTDOWN_GRACE_S = 30.0
# For answers to calls that came while the others finished, and to watchers of health.
LAST_GRACE_S = 1.0
HEALTH_SERVICES = ("", "ModelService", "PredictionService")

_logger = logging.getLogger(__name__)


class PredictionServer:
    """Serves models over gRPC and REST.

    Making one checks the flags, their files and the ports; `start` loads the models.

    Args:
        base_path: The folder that holds a model's version folders.
        **flags: The fields of `ServerOptions`.

    Attributes:
        port, rest_api_port: Its ports. After `start` a port of 0 is the one chosen.

    Raises:
        ValueError: A flag or a configuration file is wrong.
        OSError: A port is in use, or a file cannot be read.
    """

    def __init__(self, base_path: str | Path | None = None, **flags: Any):
        if base_path is not None:
            flags["model_base_path"] = base_path
        self._options = options = ServerOptions(**flags)
        self._files = files = read_files(options)
        self.port = options.port
        self.rest_api_port = options.rest_api_port
        self._credentials = None if files.tls is None else _credentials(files.tls)
        self._reserved = _reserved_ports(options)
        self._health = health.HealthServicer()
        self._calls = RunningCalls()
        log_in_lines()
        self._server = _grpc_server(options, self._calls)
        self._rest: RestServer | None = None
        self._scheduler: BatchScheduler | None = None
        self._manager = ServableManager(
            self._loader(files.batching),
            max(options.max_num_load_retries, 0),
            options.load_retry_interval_micros / 1e6,
        )
        self._core = ServerCore(
            self._manager, options.allow_version_labels_for_unavailable_models
        )
        self._periodic: list[Periodic] = []
        self._stopping = threading.Event()
        self._add_services()

    def start(self) -> None:
        """Loads the models, opens the ports, and looks for new versions from then on.

        Returns when calls are answered. A model that has no version yet is waited for.

        Raises:
            ServingError: A model did not load, or `stop` was called meanwhile.
            OSError: Another process took a port just before it was opened.
        """
        try:
            self._load()
            self._open()
        except BaseException:
            self.stop(grace=0)
            raise
        polls = self._options.file_system_poll_wait_seconds
        self._periodic = [
            Periodic(
                self._core.poll,
                polls,
                "Looking for new versions",
            ),
            # Each look for versions also tries again.
            Periodic(
                self._core.retry,
                0 if polls else self._options.load_retry_interval_micros / 1e6,
                "Trying to load again",
            ),
            Periodic(
                self._reload_config_file,
                self._options.model_config_file_poll_wait_seconds,
                "Reading the configuration anew",
            ),
        ]

    def stop(self, grace: float = SHUTDOWN_GRACE_S) -> None:
        """Refuses new calls, lets running ones finish, and frees the models.

        Args:
            grace: Seconds after which running calls are cancelled.
        """
        self._stopping.set()
        for port in self._reserved:
            port.release()
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
            name: [
                version
                for version in self._manager.states(name)
                if self._manager.is_available(name, version)
            ]
            for name in self._core.model_names()
        }

    def needed_flags(self) -> list[str]:
        """What the stock server must be given to run these versions: `--name=value`."""
        flags = {
            flag: None
            for name in self._core.model_names()
            for state in self._manager.states(name).values()
            if state.servable is not None
            for flag in needed_server_flags(state.path)
        }
        return list(flags)

    def _load(self) -> None:
        """Waits until each model has a version that has run its warm-up requests."""
        seconds = self._options.file_system_poll_wait_seconds
        self._core.configure(self._files.models)
        self._core.poll()
        waits = False
        while missing := self._core.unavailable():
            failed = any(version is not None for version, _ in missing.values())
            # Without polls nobody would find a version that comes later.
            if failed or seconds == 0:
                raise errors.models_not_available(missing)
            if not waits:
                _logger.warning("Waiting for a version of %s", ", ".join(missing))
                waits = True
            if self._stopping.wait(seconds):
                break
            self._core.poll()
        if self._stopping.is_set():
            raise errors.start_was_stopped()

    def _open(self) -> None:
        """Listens on the ports, and answers."""
        for port in self._reserved:
            port.release()
        self.port = _bind(self._server, self._options, self._credentials)
        for service in HEALTH_SERVICES:
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self._server.start()
        if self._options.rest_api_port is not None:
            self._rest = self._rest_server(self._options.rest_api_port)
            self.rest_api_port = self._rest.port
            self._rest.start()

    def _loader(self, batching: BatchingOptions | None) -> VersionLoader:
        options = self._options
        warmups = max(options.num_request_iterations_for_warmup, 1)
        return VersionLoader(
            self._wrapper(batching),
            warmups if options.enable_model_warmup else 0,
            session_config(options),
            options.tags(),
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

    def _rest_server(self, port: int) -> RestServer:
        options = self._options
        return RestServer(
            RestApi(self._core, max(options.rest_api_timeout_in_ms, 0)),
            options.host,
            port,
            options.rest_api_num_threads,
            metrics_path=self._files.metrics_path,
            allows_cors=options.rest_api_enable_cors_support,
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

    def _reload_config_file(self) -> None:
        """Serves the models of the file, also after a call has changed them."""
        models = read_models(self._options)
        if models.WhichOneof("config") is not None:
            self._core.reload(models)


def stop_signal() -> threading.Event:
    """An event that SIGTERM or SIGINT sets from now on. For the main thread."""
    signalled = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: signalled.set())
    return signalled


def _grpc_server(options: ServerOptions, calls: RunningCalls) -> grpc.Server:
    return grpc.server(
        futures.ThreadPoolExecutor(options.grpc_max_threads),
        interceptors=[calls, BoundedMessages()],
        maximum_concurrent_rpcs=options.grpc_max_threads + MAX_WAITING_CALLS,
        # If two arguments have the same name, gRPC takes the first.
        options=[
            *options.channel_arguments(),
            ("grpc.max_send_message_length", MAX_SENT_BYTES),
            ("grpc.max_receive_message_length", MAX_RECEIVED_BYTES),
            # With it two servers would share a port, and each get half the calls.
            ("grpc.so_reuseport", 0),
        ],
    )


def _reserved_ports(options: ServerOptions) -> list[ReservedPort]:
    """Reserves the ports: a busy one is known before a model is loaded."""
    if options.grpc_socket_path is not None:
        check_socket_path(options.grpc_socket_path)
    reserved = [ReservedPort(options.host, options.port, "port")]
    if options.rest_api_port is not None:
        try:
            rest = ReservedPort(options.host, options.rest_api_port, "rest_api_port")
        except OSError:
            reserved[0].release()
            raise
        reserved.append(rest)
    return reserved


def _bind(
    server: grpc.Server,
    options: ServerOptions,
    credentials: grpc.ServerCredentials | None,
) -> int:
    """Listens for gRPC, which answers when the server starts. Returns the port."""
    host = f"[{options.host}]" if ":" in options.host else options.host
    addresses = [f"{host}:{options.port}"]
    if options.grpc_socket_path is not None:
        addresses.append(f"unix:{options.grpc_socket_path}")
    ports = []
    for address in addresses:
        try:
            ports.append(_add_port(server, address, credentials))
        except RuntimeError as error:
            raise OSError(
                f"Cannot listen on {address}: it is in use or not permitted. Choose "
                "another with --port, or --port 0 for any free one."
            ) from error
    return ports[0]


def _add_port(
    server: grpc.Server, address: str, credentials: grpc.ServerCredentials | None
) -> int:
    if credentials is None:
        return server.add_insecure_port(address)
    return server.add_secure_port(address, credentials)


def _credentials(tls: Any) -> grpc.ServerCredentials:
    """Returns the credentials of an SSLConfig: TLS, or mutual TLS to verify clients.

    Raises:
        ValueError: Key and certificate do not fit.
    """
    credentials = grpc.ssl_server_credentials(
        [(tls.server_key.encode(), tls.server_cert.encode())],
        tls.custom_ca.encode() or None,
        require_client_auth=tls.client_verify,
    )
    # gRPC checks them only when it opens a port, which is after the loading.
    trial = grpc.server(futures.ThreadPoolExecutor(1))
    try:
        trial.add_secure_port("127.0.0.1:0", credentials)
    except RuntimeError as error:
        raise ValueError(
            "The key and the certificate of --ssl_config_file do not fit, or one is "
            "no PEM text. Give the certificate's own key."
        ) from error
    finally:
        trial.stop(0)
    return credentials
