"""The HTTP server of the REST API: uvicorn, in a thread of its own."""

import asyncio
import functools
import socket
import threading
from typing import Any

import uvicorn

from keras_dalle.prediction_service.http_limits import HttpLimits, Tally
from keras_dalle.prediction_service.http_protocol import BoundedProtocol
from keras_dalle.prediction_service.rest_api import RestApi
from keras_dalle.prediction_service.rest_app import RestApp

BACKLOG = 2048
LAST_ANSWERS_S = 1.0


class RestServer:
    """Serves a REST API.

    Until `start` the port is reserved, and a client's connection is refused.

    Args:
        api: Makes the answers.
        host, port: Where to listen; port 0 takes any free one.
        num_threads: Calls that run at once; others wait.
        limits: Bounds on what clients may ask.
        **options: Further arguments of `RestApp`.

    Attributes:
        port: The port to connect to.

    Raises:
        OSError: The port is in use.
    """

    def __init__(
        self,
        api: RestApi,
        host: str,
        port: int,
        num_threads: int,
        limits: HttpLimits | None = None,
        **options: Any,
    ):
        self._host = host
        self._limits = limits or HttpLimits()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise self._busy(port, error) from error
        self.port = self._socket.getsockname()[1]
        self._app = RestApp(api, num_threads, self._limits, **options)
        self._server = uvicorn.Server(self._config())
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve()), name="REST", daemon=True
        )

    def start(self) -> None:
        """Starts to answer, in a thread of its own.

        Raises:
            OSError: Another process has begun to listen on the port.
        """
        try:
            self._socket.listen(BACKLOG)
        except OSError as error:
            raise self._busy(self.port, error) from error
        self._thread.start()

    def stop(self, grace: float) -> None:
        """Takes no more calls, and waits for the running ones.

        Args:
            grace: Seconds after which running calls are answered with 503.
        """
        self._server.config.timeout_graceful_shutdown = grace  # type: ignore[assignment]
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()
        self._app.close()

    def _config(self) -> uvicorn.Config:
        every = self._limits.log_interval_s
        protocol: Any = functools.partial(
            BoundedProtocol,
            limits=self._limits,
            late=Tally("%s REST requests were not received in time", every),
            crowded=Tally("%s REST connections were too many", every),
        )
        return uvicorn.Config(
            self._app.asgi,
            http=protocol,
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=int(self._limits.patience_s) + 1,
        )

    async def _serve(self) -> None:
        await self._server.serve(sockets=[self._socket])
        state = self._server.server_state
        if state.tasks:
            # Cancelled calls answer with that.
            await asyncio.wait(state.tasks, timeout=LAST_ANSWERS_S)
        for connection in list(state.connections):
            connection.transport.close()

    def _busy(self, port: int, error: OSError) -> OSError:
        return OSError(
            f"Cannot listen on {self._host}:{port}: {error.strerror}. Choose another "
            "with --rest_api_port, or --rest_api_port 0 for any free one."
        )
