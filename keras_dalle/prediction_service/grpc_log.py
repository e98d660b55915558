"""One log line for each message that gRPC cannot read or write.

gRPC logs a traceback, so any caller could fill the log. The logger's name is private to
gRPC; `tests/prediction_service/test_bounds.py` fails if it changes.
"""

import logging

_LOGGER = "grpc._common"


class _OneLine(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info:
            record.msg, record.args = f"{record.msg} {record.exc_info[1]}", ()
            record.exc_info = None
        return True


_ONE_LINE = _OneLine()


def log_in_lines() -> None:
    """Removes the tracebacks from gRPC's log, in the whole process."""
    logging.getLogger(_LOGGER).addFilter(_ONE_LINE)
