"""HTTP around the REST API: connections, limits, an orderly end.

The standard library's server with bounds: on connections, calls that run at once, the
size of a body, and how long a silent client holds a connection.
"""

import http
import http.server
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from typing import Any

from keras_dalle.prediction_service.rest_api import Answer, error_answer

MAX_BODY_BYTES = 32 * 2**20
MAX_CONNECTIONS = 100
IDLE_TIMEOUT_S = 60.0
# What is still read of a body that is refused, so that the client reads the refusal.
MAX_DISCARDED_BYTES = 2**20

_logger = logging.getLogger(__name__)


class RestServer:
    """Serves a REST API, in threads of its own.

    Args:
        api: Answers a method, a path and a body.
        host, port: Where to listen; port 0 takes any free one.
        num_threads: Calls that run at once; others wait.

    Raises:
        OSError: The port is in use.
    """

    def __init__(
        self,
        api: Callable[[str, str, bytes], Answer],
        host: str,
        port: int,
        num_threads: int,
    ):
        try:
            self._server = _Server(api, host, port, num_threads)
        except OSError as error:
            raise OSError(
                f"Cannot listen on {host}:{port}: {error.strerror}. Choose another "
                "with --rest_api_port, or --rest_api_port 0 for any free one."
            ) from error
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="REST", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self, grace: float) -> None:
        """Takes no more calls and waits for those that run.

        Args:
            grace: Seconds after which running calls are left to themselves.
        """
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()
        self._server.drain(grace)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, api: Callable, host: str, port: int, num_threads: int):
        if ":" in host:
            self.address_family = socket.AF_INET6
        self.api = api
        self.slots = threading.BoundedSemaphore(num_threads)
        self.stopping = False
        self._connections: set[socket.socket] = set()
        self._running = 0
        self._changed = threading.Condition()
        super().__init__((host, port), _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        with self._changed:
            if len(self._connections) >= MAX_CONNECTIONS:
                _logger.warning("More than %s connections over REST", MAX_CONNECTIONS)
                return False
            self._connections.add(request)
            return True

    def shutdown_request(self, request: Any) -> None:
        with self._changed:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that vanishes is none of the server's errors.
        _logger.debug("A connection over REST broke", exc_info=True)

    def call(self, method: str, path: str, body: bytes) -> Answer:
        with self.slots:
            return self.api(method, path, body)

    def begin(self) -> None:
        with self._changed:
            self._running += 1

    def end(self) -> None:
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def drain(self, grace: float) -> None:
        """Waits for calls, and then cuts connections that wait for another one."""
        end = time.monotonic() + grace
        with self._changed:
            self.stopping = True
            self._changed.wait_for(
                lambda: not self._running, max(0.0, end - time.monotonic())
            )
            connections = list(self._connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                _logger.debug("A connection was gone already")


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection, which may bring several requests."""

    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "keras-dalle", ""
    timeout = IDLE_TIMEOUT_S
    # Head and body in one packet; two would wait for an acknowledgement in between.
    wbufsize = -1
    disable_nagle_algorithm = True

    def _handle(self) -> None:
        self.server.begin()
        try:
            body = self._body()
            if isinstance(body, Answer):
                self.close_connection = True
                self._send(body)
            else:
                self._send(self.server.call(self.command, self.path, body))
        finally:
            self.server.end()

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = _handle

    def _body(self) -> bytes | Answer:
        """The request's body, or why it is not taken."""
        if "Transfer-Encoding" in self.headers:
            return error_answer(411, "A body needs a Content-Length.")
        if self.headers.get("Content-Encoding", "identity") != "identity":
            return error_answer(415, "A body must not be compressed.")
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdecimal()):
            return error_answer(400, "Content-Length is no number.")
        # The length of the digits, for int() takes its time with thousands of them.
        if len(length) > 12 or int(length) > MAX_BODY_BYTES:
            self._discard()
            return error_answer(413, f"A body has at most {MAX_BODY_BYTES} bytes.")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            return error_answer(400, "The body is shorter than its Content-Length.")
        return body

    def _discard(self) -> None:
        self.connection.settimeout(1.0)
        try:
            self.rfile.read(MAX_DISCARDED_BYTES)
        except TimeoutError:
            _logger.debug("The client waits for an answer")

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if self.server.stopping or self.close_connection:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        # Before the call counts as ended: drain() then cuts the connection.
        self.wfile.flush()

    def send_error(
        self, code: int, message: str | None = None, explain: str | None = None
    ) -> None:
        """What the standard library refuses by itself: malformed HTTP."""
        self.close_connection = True
        if not hasattr(self, "command") or self.command is None:
            self.command = ""
        self._send(error_answer(code, message or http.HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: Any) -> None:
        _logger.debug(format, *args)
