"""One connection over HTTP: uvicorn's protocol, with bounds that it lacks.

uvicorn 0.54 waits for ever for the rest of a request and for a client that does not
read. It keeps headers and trailers of any size. Its protocol class is not documented
for subclassing. So all code that builds on it is in this file, and `setup.py` pins
uvicorn.
"""

import asyncio
import json
import logging
import sys
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from keras_dalle.prediction_service.http_limits import HttpLimits, Tally

_logger = logging.getLogger(__name__)
# uvicorn warns of each malformed request.
_logger.setLevel(logging.ERROR)


class BoundedProtocol(HttpToolsProtocol):
    """Args:
    limits: The bounds.
    late: Counts the requests that were not received in time.
    crowded: Counts the connections beyond the limit.
    **uvicorn: uvicorn's arguments for a protocol.
    """

    def __init__(
        self, *, limits: HttpLimits, late: Tally, crowded: Tally, **uvicorn: Any
    ):
        super().__init__(**uvicorn)
        self.logger = _logger
        self._limits = limits
        self._late = late
        self._crowded = crowded
        self._receiving = False
        self._refused = False
        # Bytes since the last useful byte: they bound heads and trailers.
        self._idle_bytes = 0
        self._data = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            self._crowded.note()
            self._refuse(503, "Too many connections. Try again later.")
        else:
            self._wait(self._limits.patience_s)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keeps a half-closed connection until its call is answered."""
        if not self._call_runs():
            return False
        self.cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._idle_bytes += len(data)
        self._data = data
        super().data_received(data)
        limit = self._limits.head_bytes
        if self._idle_bytes > limit and not self._refused:
            self._refuse(431, f"Headers have at most {limit} bytes together.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._idle_bytes = 0
        self._receiving = True
        self._wait(self._limits.patience_s)

    def on_headers_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_headers_complete()
            self._idle_bytes = 0

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._idle_bytes = 0

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()
            self._idle_bytes = 0
            self._receiving = False

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait(self._limits.patience_s)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait(self._limits.patience_s)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._wait(self._limits.patience_s)

    def _unsupported_upgrade_warning(self) -> None:
        """Reads a request that offers another protocol as if it did not.

        httptools takes the body of such a request for the other protocol. Java's client
        and `curl --http2` offer HTTP/2 with every request.
        """
        offer = sys.exception()
        assert isinstance(offer, httptools.HttpParserUpgrade)
        rest = self._data[offer.args[0] :]
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if method == b"CONNECT":
            self._refuse(400, "There is nothing to connect to.")
            return
        lines = [b"%s %s HTTP/%s" % (method, self.url, version.encode())]
        lines += [b"%s: %s" % line for line in self.headers if line[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self._data = b"\r\n".join([*lines, b"", b""]) + rest
        super().data_received(self._data)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, msg)

    def _call_runs(self) -> bool:
        """Tells if the last request is received, and not yet answered."""
        cycle = self.cycle
        return cycle is not None and not (cycle.response_complete or cycle.more_body)

    def _wait(self, seconds: float) -> None:
        """Gives the client this long for its next step."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        if self._refused or self.flow.write_paused or self.transport.is_closing():
            self.transport.abort()
        elif self._call_runs() or self.pipeline:
            # The client has to wait now; the answer starts the timer again.
            self._timer = None
        elif not self._receiving:
            self.transport.abort()
        else:
            self._late.note()
            self._refuse(
                408, f"A request must arrive within {self._limits.patience_s:g} s."
            )

    def _refuse(self, status: int, text: str) -> None:
        """Sends a last answer, and reads on for a moment.

        If a connection closes with bytes unread, the client loses the answer.
        """
        self._refused = True
        cycle = self.cycle
        if self._call_runs():
            # It was sent before the refused request: its answer is the last.
            cycle.keep_alive = False
            return
        if self.pipeline or (cycle and cycle.more_body and cycle.response_started):
            self.transport.abort()
            return
        if cycle and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        body = json.dumps({"error": text}).encode() + b"\n"
        self.transport.write(
            STATUS_LINE[status]
            + b"content-type: application/json\r\nconnection: close\r\n"
            + b"content-length: %d\r\n\r\n" % len(body)
            + body
        )
        self.flow.resume_reading()
        self.transport.write_eof()
        self._wait(self._limits.linger_s)
