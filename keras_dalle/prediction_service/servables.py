"""Loaded versions of models: who may use one, and when it is closed."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2


class Session(Protocol):
    """What runs a version: TensorFlow's session, or a batching one on top of it."""

    @property
    def signatures(self) -> Mapping[str, meta_graph_pb2.SignatureDef]: ...

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        timeout_ms: int = 0,
    ) -> list[np.ndarray]: ...

    def close(self) -> None: ...


class Servable:
    """One version of one model, ready to run.

    Its session is closed when it was retired and nobody uses it any more.

    Args:
        name: The model's name.
        version: The version's number.
        session: What runs it.
        checks_method_names: Whether a signature is only for the calls it was made for.
    """

    def __init__(
        self,
        name: str,
        version: int,
        session: Session,
        checks_method_names: bool = False,
    ):
        self.name = name
        self.version = version
        self.session = session
        self.checks_method_names = checks_method_names
        self._lock = threading.Lock()
        self._users = 0
        self._on_closed: Callable[[], None] | None = None
        self._closed = False

    def __enter__(self) -> "Servable":
        with self._lock:
            self._users += 1
        return self

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._users -= 1
        self._close_if_unused()

    def retire(self, on_closed: Callable[[], None]) -> None:
        """Closes the session, now or when its last user has left.

        Args:
            on_closed: Called after that.
        """
        with self._lock:
            self._on_closed = on_closed
        self._close_if_unused()

    def close(self) -> None:
        """Closes the session, whoever uses it."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.session.close()
        if self._on_closed is not None:
            self._on_closed()

    def _close_if_unused(self) -> None:
        with self._lock:
            unused = self._users == 0 and self._on_closed is not None
        if unused:
            self.close()
