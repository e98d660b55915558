"""The REST API as an ASGI application: bodies, threads, answers.

`rest_api.py` makes the answers, `rest_server.py` runs the HTTP server.
"""

import asyncio
import contextlib
import functools
import gc
import gzip
import io
import logging
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import grpc
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from keras_dalle.prediction_service import errors, metrics
from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.http_limits import HttpLimits, Tally
from keras_dalle.prediction_service.json_answers import to_bytes
from keras_dalle.prediction_service.rest_api import Call, RestApi, is_api_path, parsed

ENTRYPOINT = "REST"
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
SHUTTING_DOWN = "The server is shutting down."
_PIECE_BYTES = 2**18
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
_CODES = {413: "INVALID_ARGUMENT", 503: "UNAVAILABLE"}
_Result = TypeVar("_Result")

_logger = logging.getLogger(__name__)


class Answer(Response):
    """JSON that is sent in pieces, as fast as the client reads."""

    media_type = "application/json"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        for at in range(0, len(self.body), _PIECE_BYTES):
            piece = self.body[at : at + _PIECE_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await self.finish(receive)
        await send({"type": "http.response.body"})

    async def finish(self, receive: Receive) -> None:
        """Runs when everything is sent."""


class Refusal(Answer):
    """An error before the body is read: it closes the connection, but not at once.

    If a connection closes with bytes unread, the client loses the answer.
    """

    def __init__(self, status: int, text: str, linger_s: float):
        headers = {"Connection": "close"}
        super().__init__(to_bytes({"error": text}), status, headers)
        self._linger_s = linger_s

    async def finish(self, receive: Receive) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._linger_s):
                while (await receive()).get("more_body"):
                    pass


class RestApp:
    """Answers requests of the REST API and for metrics.

    Calls of models run in threads of their own. Other requests do not wait for them.

    Args:
        api: Makes the answers.
        num_threads: Number of calls that run at once; others wait.
        limits: Bounds for clients.
        metrics_path: The path of the metrics; None for no metrics.
        allows_cors: True lets pages of other sites call.
    """

    def __init__(
        self,
        api: RestApi,
        num_threads: int,
        limits: HttpLimits,
        metrics_path: str | None = None,
        allows_cors: bool = False,
    ):
        self._api = api
        self._limits = limits
        self._headers = _CORS_HEADERS if allows_cors else {}
        self._most_calls = num_threads + limits.waiting_calls
        self._calls = 0
        self._body_bytes = 0
        self._busy = Tally(
            "REST answered %s times that too much is asked at once",
            limits.log_interval_s,
        )
        self._threads = ThreadPoolExecutor(num_threads, "REST call")
        # One at a time: a body of 32 MB becomes objects of 1 GB.
        self._large_bodies = ThreadPoolExecutor(1, "REST large body")
        routes = [Route("/{path:path}", self._answer, methods=METHODS)]
        if metrics_path is not None:
            routes.insert(0, Route(metrics_path, _metrics, methods=METHODS))
        self.asgi = Starlette(
            routes=routes,
            exception_handlers={
                HTTPException: self._refused,
                # Nobody reads it.
                ClientDisconnect: lambda *_: Response(status_code=400),
            },
        )

    def close(self) -> None:
        """Frees the idle threads."""
        for threads in (self._threads, self._large_bodies):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, request: Request) -> Response:
        target = _target(request)
        if not is_api_path(target):
            raise HTTPException(404, f"Not found: {target}")
        start = time.perf_counter()
        code, call, answered = grpc.StatusCode.OK, Call(), b""
        try:
            if request.method == "OPTIONS":
                code = _preflight(request)
            else:
                call = parsed(request.method, target)
                answered = await self._answered(call, request)
        except ServingError as error:
            code, answered = error.code, to_bytes({"error": error.message})
        except asyncio.CancelledError:
            code = grpc.StatusCode.UNAVAILABLE
            answered = to_bytes({"error": SHUTTING_DOWN})
        except HTTPException as error:
            metrics.REQUEST_COUNT.increment(call.spec.name, _CODES[error.status_code])
            raise
        except ClientDisconnect:
            raise
        except Exception:
            _logger.exception("%s %s failed", request.method, target)
            code, answered = grpc.StatusCode.INTERNAL, to_bytes({"error": errors.BUG})
        metrics.REQUEST_COUNT.increment(call.spec.name, code.name)
        if code == grpc.StatusCode.OK:
            microseconds = (time.perf_counter() - start) * 1e6
            metrics.REQUEST_LATENCY.observe(
                microseconds, call.spec.name, call.method, ENTRYPOINT
            )
        status = 200 if code == grpc.StatusCode.OK else HTTP_STATUS.get(code, 500)
        return Answer(answered, status, self._headers)

    async def _answered(self, call: Call, request: Request) -> bytes:
        if request.method == "GET":
            return await run_in_threadpool(self._api.about, call)
        self._require_room()
        with self._held_bytes() as hold:
            body = await self._body(request, hold)
            self._require_room()
            self._calls += 1
            try:
                return await self._predicted(call, body, request, hold)
            finally:
                self._calls -= 1

    async def _body(self, request: Request, hold: Callable[[int], None]) -> bytes:
        """Reads the body as it was sent. Raises as soon as it is too large."""
        if int(request.headers.get("Content-Length", 0)) > self._limits.body_bytes:
            raise self._too_large()
        pieces, size = [], 0
        request.state.is_whole = False
        while not request.state.is_whole:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            piece = message["body"]
            request.state.is_whole = not message["more_body"]
            size += len(piece)
            if size > self._limits.body_bytes:
                raise self._too_large()
            hold(len(piece))
            pieces.append(piece)
        return b"".join(pieces)

    async def _predicted(
        self, call: Call, body: bytes, request: Request, hold: Callable[[int], None]
    ) -> bytes:
        api, limits = self._api, self._limits
        # Like the stock server: the parser refuses any other encoding.
        if "gzip" in request.headers.get("Content-Encoding", "").lower():
            limit = limits.body_bytes
            body = await _run(self._threads, lambda: unpacked(body, limit + 1))
            if len(body) > limit:
                raise self._too_large()
            hold(len(body))
        prepare = functools.partial(_uncollected, api.prepared, call, body)
        if len(body) <= limits.large_body_bytes:
            return await _run(self._threads, lambda: api.predicted(*prepare()))
        prepared = await _run(self._large_bodies, prepare)
        return await _run(self._threads, lambda: api.predicted(*prepared))

    @contextlib.contextmanager
    def _held_bytes(self) -> Iterator[Callable[[int], None]]:
        """Yields a counter of a body's bytes, which counts until the block ends."""
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            held += size
            self._body_bytes += size
            if self._body_bytes > self._limits.all_bodies_bytes:
                raise self._overloaded()

        try:
            yield hold
        finally:
            self._body_bytes -= held

    def _require_room(self) -> None:
        if self._calls >= self._most_calls:
            raise self._overloaded()

    def _overloaded(self) -> HTTPException:
        self._busy.note()
        return HTTPException(503, "Too much is asked at once. Try again later.")

    def _too_large(self) -> HTTPException:
        return HTTPException(
            413,
            f"A body has at most {self._limits.body_bytes} bytes, also when it is "
            "unpacked. Send fewer rows in one request.",
        )

    def _refused(self, request: Request, error: Any) -> Response:
        is_whole = getattr(request.state, "is_whole", False)
        linger_s = 0.0 if is_whole else self._limits.linger_s
        return Refusal(error.status_code, error.detail, linger_s)


async def _metrics(request: Request) -> Response:
    if request.url.query:
        path = request.url.path
        text = f"Unexpected path: {_target(request)}. Should be {path}"
        return PlainTextResponse(text, 400)
    return PlainTextResponse(await run_in_threadpool(metrics.page))


def _target(request: Request) -> str:
    """Returns the path and query as they were sent: the stock server parses both."""
    query = request.scope["query_string"]
    target = request.scope["raw_path"] + (b"?" + query if query else b"")
    return target.decode("latin-1")


def _preflight(request: Request) -> grpc.StatusCode:
    """Answers OPTIONS, as the stock server does only for pages of other sites."""
    origin = request.headers.get("Origin", "")
    if "http://" in origin or "https://" in origin:
        return grpc.StatusCode.OK
    return grpc.StatusCode.FAILED_PRECONDITION


def unpacked(body: bytes, most: int) -> bytes:
    """Unpacks gzip's members, at most so many bytes.

    Returns:
        No bytes if it is not gzip, like the stock server.
    """
    # It reads on in one buffer. zlib alone copies all that follows a member, once for
    # each: 1,600,000 empty ones in 32 MB would be 26 TB.
    try:
        return gzip.GzipFile(fileobj=io.BytesIO(body)).read(most)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return b""


def _uncollected(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Calls a function while garbage collection is off.

    A million lists, none of them garbage, started it so often that it stopped all
    threads for 4 s.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        return function(*arguments)
    finally:
        if enabled:
            gc.enable()


async def _run(threads: ThreadPoolExecutor, function: Callable[[], _Result]) -> _Result:
    return await asyncio.get_running_loop().run_in_executor(threads, function)
