"""A function that a thread calls again and again."""

import logging
import threading
from collections.abc import Callable

_logger = logging.getLogger(__name__)


class Periodic:
    """Calls `function` every `seconds` from now on, in a thread of its own.

    Args:
        function: The function to call. An exception does not end the calls. It is
            logged, unless the call before raised the same.
        seconds: Between the end of a call and the start of the next; 0 for never.
        name: The thread's.
    """

    def __init__(self, function: Callable[[], None], seconds: float, name: str):
        self._function = function
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        if seconds > 0:
            self._thread.start()

    def stop(self) -> None:
        """Ends it, and waits for a call that is under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        said = ""
        while not self._stopping.wait(self._seconds):
            try:
                self._function()
                said = ""
            except Exception as error:
                if str(error) != said:
                    _logger.error("%s: %s", self._thread.name, error)
                said = str(error)
