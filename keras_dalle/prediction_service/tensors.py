"""Tensors on the wire and in memory."""

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

# A proto of a few bytes can stand for a tensor of any size, whose last value repeats,
# and an empty string is a byte or two in a message. This is the memory that all inputs
# of a call may take beyond the bytes that were sent for them.
MAX_EXTRA_BYTES = 64 * 2**20
# TensorFlow's tensors have at most so many axes, but a proto may have more.
_MAX_DIMENSIONS = 254
# In a tensor a string takes 24 bytes and its text. As a Python object it takes a
# pointer, 33 bytes and its text again.
STRING_BYTES = 24 + 8 + 33
_TEXTS_OF_STRING = 2
# The largest piece of an answer. Python's lock is free between two pieces.
_VALUES_AT_ONCE = 2**20

# A proto's lists, the dtype of their entries, and the dtypes whose values they hold.
_LISTS = {
    "float_val": (np.float32, "FLOAT"),
    "double_val": (np.float64, "DOUBLE"),
    "int_val": (
        np.int32,
        "INT32 INT16 INT8 INT4 INT2 UINT16 UINT8 UINT4 UINT2 "
        "QINT32 QINT16 QINT8 QUINT16 QUINT8",
    ),
    "int64_val": (np.int64, "INT64"),
    "uint32_val": (np.uint32, "UINT32"),
    "uint64_val": (np.uint64, "UINT64"),
    "bool_val": (np.bool_, "BOOL"),
    "half_val": (np.int32, "HALF BFLOAT16"),
    "scomplex_val": (np.float32, "COMPLEX64"),
    "dcomplex_val": (np.float64, "COMPLEX128"),
    "string_val": (object, "STRING"),
    "float8_val": (
        np.uint8,
        "FLOAT8_E5M2 FLOAT8_E4M3FN FLOAT8_E4M3FNUZ FLOAT8_E4M3B11FNUZ FLOAT8_E5M2FNUZ",
    ),
}
_LIST_OF_DTYPE = {
    types_pb2.DataType.Value(f"DT_{name}"): (field, entry)
    for field, (entry, names) in _LISTS.items()
    for name in names.split()
}
# Parsing a VARIANT can end the process (TensorFlow 2.20: one of type
# "tensorflow::Tensor"), and a RESOURCE is an address within it.
_NEVER_READ = (types_pb2.DT_VARIANT, types_pb2.DT_RESOURCE)
# For these dtypes an entry holds the bits; for others it holds the number.
_BITS = {
    tf.half: np.uint16,
    tf.bfloat16: np.uint16,
    tf.complex64: np.float32,
    tf.complex128: np.float64,
}


def is_dtype(dtype: int) -> bool:
    """Tells if a tensor can have the dtype; references and "invalid" are none."""
    return dtype in _LIST_OF_DTYPE or dtype in _NEVER_READ


def dtype_name(dtype: int) -> str:
    """Returns a proto's dtype as TensorFlow's C++ writes it, such as `int64`."""
    return types_pb2.DataType.Name(dtype).removeprefix("DT_").lower()


class TooLarge(ValueError):
    """The tensors of a call are too much larger than what was sent for them."""


class TensorReader:
    """Parses the tensors of one call, within `MAX_EXTRA_BYTES` for all of them."""

    def __init__(self) -> None:
        self._room = MAX_EXTRA_BYTES

    def parse(self, proto: tensor_pb2.TensorProto) -> np.ndarray:
        """Parses the tensor of a proto, as the stock server's `Tensor::FromProto` does.

        Raises:
            TooLarge: There are too many strings, or its last value repeats too often.
            ValueError: The proto does not describe a tensor.
        """
        if proto.dtype not in _LIST_OF_DTYPE:
            raise ValueError(f"Not a tensor: its dtype is {proto.dtype}.")
        dtype, sizes = tf.as_dtype(proto.dtype), _sizes(proto)
        count, content = math.prod(sizes), proto.tensor_content
        if content and dtype != tf.string:
            if count * dtype.size != len(content):
                raise ValueError(f"Not a tensor: {len(content)} bytes for {sizes}.")
            return np.frombuffer(content, dtype.as_numpy_dtype).reshape(sizes)
        self._room -= _extra_bytes(proto, count)
        if self._room < 0:
            raise TooLarge(f"Not a tensor: {-self._room} bytes too many.")
        try:
            return tf.io.parse_tensor(proto.SerializeToString(), dtype).numpy()
        except tf.errors.OpError as error:
            raise ValueError(f"Not a tensor: {error}") from error


def _sizes(proto: tensor_pb2.TensorProto) -> list[int]:
    shape = proto.tensor_shape
    if shape.unknown_rank or len(shape.dim) > _MAX_DIMENSIONS:
        raise ValueError("Not a tensor: it has no rank, or one that is too high.")
    sizes = [dim.size for dim in shape.dim]
    # NumPy would read -1 as "whatever is left".
    if min(sizes, default=0) < 0:
        raise ValueError(f"Not a tensor: its shape is {sizes}.")
    return sizes


def _extra_bytes(proto: tensor_pb2.TensorProto, count: int) -> int:
    """Returns the memory that `count` values take beyond the bytes that were sent."""
    dtype = tf.as_dtype(proto.dtype)
    values = getattr(proto, _LIST_OF_DTYPE[proto.dtype][0])
    listed = len(values) // (2 if dtype.is_complex else 1)
    repeated = 0 if proto.tensor_content else max(0, count - listed)
    if dtype != tf.string:
        return repeated * dtype.size
    text = len(values[-1]) if repeated and values else 0
    return count * STRING_BYTES + repeated * text * _TEXTS_OF_STRING


def fill_tensor(
    proto: tensor_pb2.TensorProto, array: np.ndarray | bytes, as_content: bool = False
) -> None:
    """Writes a tensor into an empty proto, as values of the list for its dtype.

    Args:
        proto: The proto to fill.
        array: Values; strings as objects.
        as_content: Numbers travel as packed bytes instead.
    """
    # The session gives a scalar string as bytes.
    array = np.asarray(array, object if isinstance(array, bytes) else None)
    dtype = tf.as_dtype(array.dtype)
    proto.dtype = dtype.as_datatype_enum
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    field, entry = _LIST_OF_DTYPE[proto.dtype]
    if field == "float8_val":
        proto.float8_val = array.tobytes()
    elif as_content and dtype != tf.string:
        proto.tensor_content = array.tobytes()
    else:
        values = array.ravel()
        for start in range(0, values.size, _VALUES_AT_ONCE):
            piece = values[start : start + _VALUES_AT_ONCE]
            if dtype == tf.string:
                proto.string_val.extend(piece.tolist())
            else:
                piece = piece.view(_BITS.get(dtype, piece.dtype)).astype(entry)
                proto.MergeFromString(_packed(field, piece))


def _packed(field: str, entries: np.ndarray) -> bytes:
    """Packs this list into a TensorProto, in C++ and without Python's lock."""
    # `extend` takes them one by one and holds the lock: with 10,000,000 numbers other
    # callers waited for 1.9 s.
    with tf.device("cpu"):
        protos = tf.io.encode_proto(
            [[entries.size]], [entries[np.newaxis]], [field], "tensorflow.TensorProto"
        )
    return protos.numpy()[0]
