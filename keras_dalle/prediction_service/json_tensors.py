"""Tensors from the JSON of the REST API, in rows ("instances") or columns ("inputs").

The rules and texts are those of the stock server's `util/json_tensor.cc`.
"""

import base64
import binascii
import itertools
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo
from tensorflow_serving.apis import predict_pb2

from keras_dalle.prediction_service import errors
from keras_dalle.prediction_service.errors import invalid_argument

ROWS, COLUMNS = "instances", "inputs"
BASE64 = "b64"
MAX_SHOWN = 256
_TYPE_NAMES = {
    dict: "Object",
    list: "Array",
    str: "String",
    int: "Number",
    float: "Number",
}
_CPP_NAMES = {tf.float32: "float", tf.float64: "double", tf.half: "half"}
# dtype -> the proto's field, and the JSON values that it accepts
_FIELDS: dict[tf.DType, tuple[str, set[type]]] = {
    tf.string: ("string_val", {str, dict}),
    tf.bool: ("bool_val", {bool}),
    tf.float32: ("float_val", {int, float}),
    tf.float64: ("double_val", {int, float}),
    tf.int8: ("int_val", {int}),
    tf.int16: ("int_val", {int}),
    tf.int32: ("int_val", {int}),
    tf.uint8: ("int_val", {int}),
    tf.int64: ("int64_val", {int}),
    tf.uint32: ("uint32_val", {int}),
    tf.uint64: ("uint64_val", {int}),
}
# The stock server accepts values that fit the field, and cuts them to the dtype.
_RANGES: dict[str, range] = {
    "int_val": range(-(2**31), 2**31),
    "int64_val": range(-(2**63), 2**63),
    "uint32_val": range(2**32),
    "uint64_val": range(2**64),
}
# Values per piece; between two pieces other threads run.
_PIECE = 2**14
_INT64, _UINT64 = _RANGES["int64_val"], _RANGES["uint64_val"]
# Numbers with fewer digits fit int64. A uint64, or an int64 with sign, has no more.
_INT64_DIGITS, _UINT64_DIGITS = 19, 20
# Other threads cannot run while empty ones are parsed: 32 MB of `[],` took 7 s.
MAX_CONTAINERS = 1_000_000
# Escapes in strings; a surrogate that has no partner is alone.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<alone>u[dD][89a-fA-F])|.)", re.DOTALL
)


def parse_json(body: bytes) -> dict[str, Any]:
    """The object of a request's body. What follows it is ignored.

    If members have the same name, the first counts.

    Raises:
        ServingError: It is something else.
    """
    if body.count(b"[") + body.count(b"{") > MAX_CONTAINERS:
        raise _parse_error(
            f"A body has at most {MAX_CONTAINERS} arrays and objects together. Send "
            "fewer rows in one request."
        )
    # Bytes that are no UTF-8 travel on as they are.
    text = body.decode("utf-8", "surrogateescape")
    start = len(text) - len(text.lstrip(" \t\r\n\ufeff"))
    if start == len(text):
        raise _parse_error("The document is empty")
    try:
        document, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise _parse_error(f"{error.msg} at offset: {error.pos}") from error
    except RecursionError as error:
        raise _parse_error("The values are nested too deeply.") from error
    for escape in _ESCAPE.finditer(text, start, end) if "\\u" in text else ():
        if escape["alone"]:
            raise _parse_error("The surrogate pair in string is invalid.")
    if not isinstance(document, dict):
        raise _format_error(document, "Is not object")
    return document


# Python functions, not `int` and `dict`: wherever the parser calls them, other threads
# may run.
def _integer(digits: str) -> int | float:
    if len(digits) < _INT64_DIGITS:
        return int(digits)
    # Like the stock server: integers of 64 bits, and doubles for larger ones.
    number = int(digits) if len(digits) <= _UINT64_DIGITS else _UINT64.stop
    return number if number in _INT64 or number in _UINT64 else _double(digits)


def _double(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _parse_error("Number too big to be stored in double.")
    return number


def _first_of_each(members: list[tuple[str, Any]]) -> dict[str, Any]:
    first = dict(members)
    if len(first) < len(members):
        first = dict(reversed(members))
    return first


def _parse_error(text: str) -> errors.ServingError:
    return invalid_argument(f"JSON Parse error: {text}")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_first_of_each, parse_float=_double, parse_int=_integer
)


def fill_signature_name(document: Mapping[str, Any], spec: Any) -> None:
    """Raises a `ServingError` unless the name, if there is one, is a string."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            f"JSON Value: {shown(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    spec.signature_name = _utf8(name).decode("utf-8", "replace")


def require_examples(document: Mapping[str, Any]) -> None:
    """Raises a `ServingError` unless a body for Classify or Regress has examples."""
    if "examples" not in document:
        raise _format_error(
            document,
            "When method is classify, key 'examples' is expected and was not found",
        )


def fill_predict_request(
    document: Mapping[str, Any],
    request: predict_pb2.PredictRequest,
    infos: Mapping[str, TensorInfo],
) -> str:
    """Puts the tensors of a body into a request.

    Args:
        document: The body.
        request: What is filled.
        infos: The inputs of its signature.

    Returns:
        `ROWS` or `COLUMNS`: what the answer is to be in.

    Raises:
        ServingError: The body does not fit the signature.
    """
    if ROWS in document and COLUMNS in document:
        raise _format_error(
            document,
            "Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist ",
        )
    if ROWS in document:
        rows = document[ROWS]
        if not isinstance(rows, list):
            raise _format_error(document, "Expecting 'instances' to be an list/array")
        if not rows:
            raise _format_error(document, "No values in 'instances' array")
        columns = _columns_of_rows(rows, infos)
    elif COLUMNS in document:
        columns = _columns_of_inputs(document[COLUMNS], infos)
    else:
        raise invalid_argument("Missing 'inputs' or 'instances' key")
    for name, proto in columns.items():
        request.inputs[name].CopyFrom(proto)
    return ROWS if ROWS in document else COLUMNS


def _columns_of_inputs(
    value: Any, infos: Mapping[str, TensorInfo]
) -> dict[str, tensor_pb2.TensorProto]:
    if not isinstance(value, dict) or is_base64(value):
        if len(infos) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple "
                "input tensors required as per tensorinfo_map"
            )
        value = dict.fromkeys(infos, value)
    for name in infos:
        if name not in value:
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
    return {
        name: tensor_of_json(value[name], tf.as_dtype(info.dtype))
        for name, info in infos.items()
    }


def _columns_of_rows(
    rows: list, infos: Mapping[str, TensorInfo]
) -> dict[str, tensor_pb2.TensorProto]:
    if not isinstance(rows[0], dict) and len(infos) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    named = _is_named(rows[0])
    for number, row in enumerate(rows):
        if named != _is_named(row):
            expected, got = ("object", "list") if named else ("value/list", "object")
            raise invalid_argument(
                f"Expecting {expected} but got {got} at item {number} of input list"
            )
        if named and row.keys() != infos.keys():
            raise _wrong_keys(row, number, infos)
    columns = {}
    for name, info in infos.items():
        values = [row[name] for row in rows] if named else rows
        dtype = tf.as_dtype(info.dtype)
        try:
            columns[name] = tensor_of_json(values, dtype)
        except errors.ServingError as error:
            raise _wrong_row(values, name if named else None, dtype) from error
    return columns


def _wrong_keys(
    row: Mapping[str, Any], number: int, infos: Mapping[str, TensorInfo]
) -> errors.ServingError:
    for name in row:
        if name not in infos:
            return invalid_argument(
                f"Failed to process element: {number} key: {name} of 'instances' list. "
                "Error: INVALID_ARGUMENT: JSON object: does not have named input: "
                f"{name}"
            )
    return invalid_argument(
        f"Failed to process element: {number} of 'instances' list. JSON object: "
        f"{shown(row)} keys must be equal to: {','.join(sorted(infos))}"
    )


def _wrong_row(values: list, name: str | None, dtype: tf.DType) -> errors.ServingError:
    """Says why a column of rows is no tensor, by the first row that does not fit."""
    number = _first_wrong(values, dtype)
    place = str(number) if name is None else f"{number} key: {name}"
    try:
        sizes = _sizes(tensor_of_json(values[number], dtype))
        error = _wrong_size(_sizes(tensor_of_json(values[0], dtype)), sizes)
    except errors.ServingError as reason:
        error = reason
    return invalid_argument(
        f"Failed to process element: {place} of 'instances' list. "
        f"Error: {error.code.name}: {error.message}"
    )


def _first_wrong(values: list, dtype: tf.DType) -> int:
    """Finds by halving the first row that makes no tensor together with row 0."""
    low, high = 0, len(values)
    while low + 1 < high:
        middle = (low + high) // 2
        try:
            tensor_of_json([values[0], *values[low:middle]], dtype)
            low = middle
        except errors.ServingError:
            high = middle
    return low


def _wrong_size(first: list[int], sizes: list[int]) -> errors.ServingError:
    if math.prod(first) != math.prod(sizes):
        return invalid_argument(
            f"Expecting tensor size: {math.prod(first)} but got: {math.prod(sizes)}"
        )
    return invalid_argument(
        f"Expecting shape [{','.join(map(str, first))}] "
        f"but got: [{','.join(map(str, sizes))}]"
    )


def _sizes(tensor: tensor_pb2.TensorProto) -> list[int]:
    return [dim.size for dim in tensor.tensor_shape.dim]


def tensor_of_json(value: Any, dtype: tf.DType) -> tensor_pb2.TensorProto:
    """The tensor of a value or of nested lists of values.

    Raises:
        ServingError: Lists of one level differ in length, or a value has another type.
    """
    sizes = []
    first = value
    while isinstance(first, list):
        sizes.append(len(first))
        first = first[0] if first else None
    items = [value]
    for level, size in enumerate(sizes):
        for item in items:
            if not isinstance(item, list):
                raise invalid_argument(
                    f"JSON Value: {shown(item)} found at incorrect level: {level + 1} "
                    f"in the JSON DOM. Expected at level: {len(sizes)}"
                )
            if len(item) != size:
                raise invalid_argument(
                    f"Encountered list at unexpected size: {len(item)} "
                    f"at level: {level} expected size: {size}"
                )
        items = list(itertools.chain.from_iterable(items))
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    proto.tensor_shape.SetInParent()
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    _add_values(proto, items, dtype)
    return proto


def _add_values(proto: tensor_pb2.TensorProto, items: list, dtype: tf.DType) -> None:
    if dtype not in _FIELDS:
        raise errors.not_convertible(shown(items[:1]), cpp_name(dtype))
    field, types = _FIELDS[dtype]
    limits = _RANGES.get(field)
    values = getattr(proto, field)
    for at in range(0, len(items), _PIECE):
        piece = items[at : at + _PIECE]
        # A bool is an int to Python, but not to this comparison.
        if not set(map(type, piece)) <= types:
            wrong = next(item for item in piece if type(item) not in types)
            if isinstance(wrong, list):
                rank = len(proto.tensor_shape.dim)
                raise invalid_argument(
                    f"Encountered list at unexpected level: {rank} expected < {rank}"
                )
            raise _type_error(wrong, dtype)
        if limits and not (min(piece) in limits and max(piece) in limits):
            wrong = next(item for item in piece if item not in limits)
            raise _type_error(wrong, dtype)
        values.extend(map(string_of_json, piece) if dtype == tf.string else piece)


def string_of_json(value: Any) -> bytes:
    if isinstance(value, dict):
        if not is_base64(value):
            raise invalid_argument(
                f"JSON Value: {shown(value)} not formatted correctly for base64 data"
            )
        text = "".join(value[BASE64].split())
        try:
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            raise invalid_argument("Unable to base64 decode") from error
    return _utf8(value)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def is_base64(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {BASE64}
        and isinstance(value[BASE64], str)
    )


def _is_named(row: Any) -> bool:
    return isinstance(row, dict) and not is_base64(row)


def shown(value: Any) -> str:
    """A value in an error's text."""
    text = ""
    # In pieces, so that a large value costs no more than what is shown of it.
    for piece in json.JSONEncoder(ensure_ascii=False).iterencode(value):
        text += piece[:MAX_SHOWN]
        if len(text) >= MAX_SHOWN:
            break
    return text[:MAX_SHOWN].encode("utf-8", "replace").decode("utf-8")


def type_name(value: Any) -> str:
    """The JSON type of a value as the stock server calls it."""
    return "Null" if value is None else _TYPE_NAMES.get(type(value), str(value))


def _type_error(value: Any, dtype: tf.DType) -> errors.ServingError:
    return invalid_argument(
        f"JSON Value: {shown(value)} Type: {type_name(value)} "
        f"is not of expected type: {cpp_name(dtype)}"
    )


def _format_error(value: Any, text: str) -> errors.ServingError:
    return invalid_argument(f"JSON Value: {shown(value)} {text}")


def cpp_name(dtype: tf.DType) -> str:
    """A dtype as the stock server's texts call it."""
    return _CPP_NAMES.get(dtype, dtype.name)
