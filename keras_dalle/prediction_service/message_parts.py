"""Refusal of messages with too many parts before protobuf makes objects of them.

Protobuf does so under Python's lock. A message of 64 MB with nothing but empty inputs
(gzip packs it into 64 KB) kept all other calls waiting for 17 s and took 6 GB. Counting
takes less than a microsecond per part, and other threads can run meanwhile.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor

# A request has a few dozen, and one per string. A list of numbers is one part.
MAX_PARTS = 2**18
# Protobuf's own.
_MAX_DEPTH = 100
_MAX_VARINT_BYTES = 10
# The lowest bits of a field's tag say how its length is given. Groups have no length.
_VARINT, _FIXED_64, _LENGTH, _FIXED_32 = 0, 1, 2, 5
_KIND_BITS = 3


class TooManyParts(ValueError):
    """A message has more than `MAX_PARTS` parts."""


class BoundedMessages(grpc.ServerInterceptor):
    """Answers messages of too many parts with RESOURCE_EXHAUSTED."""

    def intercept_service(
        self, continuation: Callable, handler_call_details: Any
    ) -> grpc.RpcMethodHandler | None:
        handler = continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler

        def read(content: bytes) -> Any:
            try:
                check_parts(content, handler.request_deserializer.__self__.DESCRIPTOR)
            except TooManyParts as error:
                return error
            return handler.request_deserializer(content)

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            if isinstance(request, TooManyParts):
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(request))
            return handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(
            answer, read, handler.response_serializer
        )


def check_parts(content: bytes, descriptor: Descriptor) -> None:
    """Counts the fields of a message and of the messages in it.

    Raises:
        TooManyParts: There are more than `MAX_PARTS`.
    """
    # A damaged message is left to protobuf.
    with contextlib.suppress(_Damaged, IndexError):
        _parts_left(content, 0, len(content), descriptor, MAX_PARTS, _MAX_DEPTH)


class _Damaged(ValueError):
    pass


def _parts_left(
    content: bytes,
    position: int,
    end: int,
    descriptor: Descriptor,
    left: int,
    depth: int,
) -> int:
    """Returns `left` less the parts of a message from `position` to `end`."""
    if depth == 0:
        raise _Damaged
    fields = descriptor.fields_by_number
    while position < end:
        left -= 1
        if left < 0:
            raise TooManyParts(
                f"A message must have at most {MAX_PARTS} parts: fields, and values of "
                "lists of strings or messages. Send fewer of them in a call."
            )
        tag, position = _varint(content, position)
        kind = tag & 7
        if kind == _LENGTH:
            size, position = _varint(content, position)
            field = fields.get(tag >> _KIND_BITS)
            inner = None if field is None else field.message_type
            if inner is not None:
                left = _parts_left(
                    content, position, position + size, inner, left, depth - 1
                )
            position += size
        elif kind == _VARINT:
            _, position = _varint(content, position)
        elif kind == _FIXED_32:
            position += 4
        elif kind == _FIXED_64:
            position += 8
    return left


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """Returns a number from groups of 7 bits, the lowest first, and its end."""
    value = content[position]
    if value < 0x80:
        return value, position + 1
    value &= 0x7F
    for place in range(1, _MAX_VARINT_BYTES):
        byte = content[position + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, position + place + 1
    raise _Damaged
