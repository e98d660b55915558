"""Bounds for clients of the HTTP server: sizes, numbers and times."""

import asyncio
import dataclasses
import logging

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HttpLimits:
    """Bounds on requests and connections.

    Args:
        body_bytes: Largest body of a request, as sent and as unpacked.
        all_bodies_bytes: Most bytes of all requests' bodies at a time.
        large_body_bytes: Bodies above this are parsed one at a time, beside the others.
        head_bytes: Most bytes of a request line with headers.
        connections: Open connections; one more is answered with 503.
        waiting_calls: Calls that wait for a thread; one more is answered with 503.
        patience_s: Seconds in which a client must send a whole request, start its next
            one on the same connection, or read the next part of an answer.
        linger_s: Seconds to keep reading after a refusal, so that the client gets it.
        log_interval_s: Seconds between two lines of the log about one kind of refusal.
    """

    body_bytes: int = 32 * 2**20
    all_bodies_bytes: int = 2**29
    large_body_bytes: int = 2**20
    head_bytes: int = 2**16
    connections: int = 800
    waiting_calls: int = 500
    patience_s: float = 60.0
    linger_s: float = 2.0
    log_interval_s: float = 60.0


class Tally:
    """Logs that something happened: the first time, then how often in each interval.

    For the event loop's thread.

    Args:
        text: The line, with `%s` for the number.
        interval_s: Seconds between two lines.
    """

    def __init__(self, text: str, interval_s: float):
        self._text = text
        self._interval_s = interval_s
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def note(self) -> None:
        self._count += 1
        if self._timer is None:
            self._report()

    def _report(self) -> None:
        self._timer = None
        if self._count:
            _logger.warning(self._text, self._count)
            self._count = 0
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._interval_s, self._report)
