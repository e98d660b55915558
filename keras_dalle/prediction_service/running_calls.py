"""The gRPC calls that run, so that a server can let them finish before it ends.

`grpc.Server.stop` alone does not do: once it has told clients that it will go away, it
drops the connection of a call whose deadline passes, and the client reads UNAVAILABLE
in place of DEADLINE_EXCEEDED (2 of 100 calls on a busy machine, gRPC 1.85). So the
server refuses new calls itself, and stops gRPC when no call is left.
"""

import threading
from collections.abc import Callable
from typing import Any

import grpc

SHUTTING_DOWN = "The server is shutting down."
# It answers while the server stops: it is what says so.
_HEALTH = "/grpc.health.v1.Health/"


class RunningCalls(grpc.ServerInterceptor):
    """Counts calls from their start until the client was sent their end.

    Attributes:
        number: Of the calls that run.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.number = 0
        self._refusing = False

    def intercept_service(
        self, continuation: Callable, handler_call_details: Any
    ) -> grpc.RpcMethodHandler | None:
        handler = continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(_HEALTH):
            return handler
        behaviour = _refuse if self._refusing else self._counted(handler.unary_unary)
        return grpc.unary_unary_rpc_method_handler(
            behaviour, handler.request_deserializer, handler.response_serializer
        )

    def refuse(self) -> None:
        """New calls are answered with UNAVAILABLE from now on."""
        self._refusing = True

    def wait(self, seconds: float) -> None:
        """Returns when no call runs, or after so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self.number == 0, seconds)

    def _counted(self, behaviour: Callable) -> Callable:
        def call(request: Any, context: grpc.ServicerContext) -> Any:
            with self._changed:
                self.number += 1
            if not context.add_callback(self._end):
                self._end()
            return behaviour(request, context)

        return call

    def _end(self) -> None:
        with self._changed:
            self.number -= 1
            self._changed.notify_all()


def _refuse(request: Any, context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.UNAVAILABLE, SHUTTING_DOWN)
