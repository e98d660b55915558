"""Tensors from the JSON of the REST API, in rows ("instances") or columns ("inputs").

The rules and texts are those of the stock server's `util/json_tensor.cc`.
"""

import base64
import binascii
import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
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
# dtype -> the proto's field, and what that holds
_INTEGERS = {
    tf.int8: "int_val",
    tf.int16: "int_val",
    tf.int32: "int_val",
    tf.uint8: "int_val",
    tf.int64: "int64_val",
    tf.uint32: "uint32_val",
    tf.uint64: "uint64_val",
}
_LIMITS: dict[str, Any] = {
    "int_val": np.int32,
    "int64_val": np.int64,
    "uint32_val": np.uint32,
    "uint64_val": np.uint64,
}
_FLOATS = {tf.float32: "float_val", tf.float64: "double_val"}


def parse_json(body: bytes) -> dict[str, Any]:
    """The object of a request's body. What follows it is ignored.

    Raises:
        ServingError: It is something else.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    # Bytes that are no UTF-8 travel on as they are.
    text = body.decode("utf-8", "surrogateescape").lstrip(" \t\r\n\ufeff")
    try:
        document, _ = json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as error:
        raise invalid_argument(
            f"JSON Parse error: {error.msg} at offset: {error.pos}"
        ) from error
    except (RecursionError, ValueError) as error:
        raise invalid_argument(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {shown(document)} Is not object")
    return document


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
    inputs_of: Callable[[str], Mapping[str, TensorInfo]],
) -> str:
    """Puts the tensors of a body into a request.

    Args:
        document: The body.
        request: What is filled.
        inputs_of: The inputs of a signature.

    Returns:
        `ROWS` or `COLUMNS`: what the answer is to be in.

    Raises:
        ServingError: The body does not fit the signature.
    """
    fill_signature_name(document, request.model_spec)
    infos = inputs_of(request.model_spec.signature_name)
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
    columns: dict[str, list[tensor_pb2.TensorProto]] = {name: [] for name in infos}
    for number, row in enumerate(rows):
        if named != _is_named(row):
            expected, got = ("object", "list") if named else ("value/list", "object")
            raise invalid_argument(
                f"Expecting {expected} but got {got} at item {number} of input list"
            )
        for name, value in (row if named else dict.fromkeys(infos, row)).items():
            place = f"{number} key: {name}" if named else str(number)
            try:
                columns.setdefault(name, []).append(
                    _row_tensor(value, name, infos, columns)
                )
            except errors.ServingError as error:
                raise invalid_argument(
                    f"Failed to process element: {place} of 'instances' list. "
                    f"Error: {error.code.name}: {error.message}"
                ) from error
        if named and set(row) != set(infos):
            raise invalid_argument(
                f"Failed to process element: {number} of 'instances' list. JSON "
                f"object: {shown(row)} keys must be equal to: {','.join(sorted(infos))}"
            )
    return {name: _stacked(tensors) for name, tensors in columns.items()}


def _row_tensor(
    value: Any,
    name: str,
    infos: Mapping[str, TensorInfo],
    columns: Mapping[str, list[tensor_pb2.TensorProto]],
) -> tensor_pb2.TensorProto:
    """The tensor of one row, which must have the shape of those before it."""
    if name not in infos:
        raise invalid_argument(f"JSON object: does not have named input: {name}")
    tensor = tensor_of_json(value, tf.as_dtype(infos[name].dtype))
    sizes = _sizes(tensor)
    first = _sizes(columns[name][0]) if columns[name] else sizes
    if np.prod(first, dtype=int) != np.prod(sizes, dtype=int):
        raise invalid_argument(
            f"Expecting tensor size: {np.prod(first, dtype=int)} "
            f"but got: {np.prod(sizes, dtype=int)}"
        )
    if first != sizes:
        raise invalid_argument(
            f"Expecting shape [{','.join(map(str, first))}] "
            f"but got: [{','.join(map(str, sizes))}]"
        )
    return tensor


def _stacked(rows: list[tensor_pb2.TensorProto]) -> tensor_pb2.TensorProto:
    """One tensor [B, ...] of B tensors of one shape."""
    stacked = tensor_pb2.TensorProto()
    for row in rows:
        # Values of repeated fields are appended; the shape is written anew below.
        stacked.MergeFrom(row)
    stacked.tensor_shape.Clear()
    for size in [len(rows), *_sizes(rows[0])]:
        stacked.tensor_shape.dim.add(size=size)
    return stacked


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
    if any(isinstance(item, list) for item in items):
        raise invalid_argument(
            f"Encountered list at unexpected level: {len(sizes)} "
            f"expected < {len(sizes)}"
        )
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    proto.tensor_shape.SetInParent()
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    _add_values(proto, items, dtype)
    return proto


def _add_values(proto: tensor_pb2.TensorProto, items: list, dtype: tf.DType) -> None:
    if dtype == tf.string:
        proto.string_val.extend(string_of_json(item) for item in items)
    elif dtype == tf.bool:
        proto.bool_val.extend(_of_type(item, (bool,), dtype) for item in items)
    elif dtype in _FLOATS:
        numbers = (float(_of_type(item, (int, float), dtype)) for item in items)
        try:
            getattr(proto, _FLOATS[dtype]).extend(numbers)
        except OverflowError as error:
            raise invalid_argument(f"JSON Parse error: {error}") from error
    elif dtype in _INTEGERS:
        # The stock server takes what fits the field, and cuts it to the dtype.
        limits = np.iinfo(_LIMITS[_INTEGERS[dtype]])
        values = [_of_type(item, (int,), dtype) for item in items]
        for value in values:
            if not limits.min <= value <= limits.max:
                raise _type_error(value, dtype)
        getattr(proto, _INTEGERS[dtype]).extend(values)
    else:
        raise errors.not_convertible(shown(items[:1]), cpp_name(dtype))


def _of_type(value: Any, types: tuple[type, ...], dtype: tf.DType) -> Any:
    # A bool is an int to Python.
    if type(value) not in types:
        raise _type_error(value, dtype)
    return value


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
    return _utf8(_of_type(value, (str,), tf.string))


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise invalid_argument(
            "JSON Parse error: The surrogate pair in string is invalid."
        ) from error


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
