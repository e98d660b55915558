"""Tensors on the wire and in memory."""

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

# A proto of a few bytes can stand for a tensor of any size, whose last value repeats.
# No tensor that is sent in full needs more than this many bytes for one of the proto's:
# a string has 24 bytes in memory and two on the wire.
MAX_BYTES_PER_SENT_BYTE = 16
MAX_REPEATED_BYTES = 64 * 2**20
_STRING_BYTES = 24
# The field that holds a dtype's values, and the dtype in which it does.
_FIELDS = {
    tf.float32: ("float_val", np.float32),
    tf.float64: ("double_val", np.float64),
    tf.int32: ("int_val", np.int32),
    tf.int16: ("int_val", np.int16),
    tf.int8: ("int_val", np.int8),
    tf.uint16: ("int_val", np.uint16),
    tf.uint8: ("int_val", np.uint8),
    tf.int64: ("int64_val", np.int64),
    tf.bool: ("bool_val", np.bool_),
    tf.uint32: ("uint32_val", np.uint32),
    tf.uint64: ("uint64_val", np.uint64),
    tf.half: ("half_val", np.uint16),
    tf.bfloat16: ("half_val", np.uint16),
    tf.string: ("string_val", object),
}


def parse_tensor(proto: tensor_pb2.TensorProto) -> np.ndarray:
    """The tensor of a proto, by the same C++ `Tensor::FromProto` as the stock server.

    Raises:
        ValueError: The proto does not describe a tensor, or one of which it holds only
            a small part.
    """
    serialized = proto.SerializeToString()
    try:
        _check_size(proto, len(serialized))
        return tf.io.parse_tensor(serialized, proto.dtype).numpy()
    except (tf.errors.OpError, TypeError) as error:
        raise ValueError(f"Not a tensor: {error}") from error


def _check_size(proto: tensor_pb2.TensorProto, sent_bytes: int) -> None:
    dtype = tf.as_dtype(proto.dtype)
    element_bytes = _STRING_BYTES if dtype == tf.string else dtype.size
    sizes = [max(dim.size, 0) for dim in proto.tensor_shape.dim]
    wanted = math.prod(sizes) * element_bytes
    if wanted > max(MAX_REPEATED_BYTES, MAX_BYTES_PER_SENT_BYTE * sent_bytes):
        raise ValueError(
            f"Not a tensor: {sent_bytes} bytes cannot hold the values of shape {sizes}"
        )


def tensor_proto(
    array: np.ndarray | bytes, as_content: bool = False
) -> tensor_pb2.TensorProto:
    """The proto of a tensor, its values in the list of its dtype.

    Args:
        array: Values; strings as objects.
        as_content: Numbers travel as packed bytes instead.
    """
    # The session gives a scalar string as bytes.
    array = np.asarray(array, object if isinstance(array, bytes) else None)
    dtype = tf.as_dtype(array.dtype)
    if dtype not in _FIELDS:
        return tf.make_tensor_proto(array)
    field, stored = _FIELDS[dtype]
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if as_content and dtype != tf.string:
        proto.tensor_content = array.tobytes()
        return proto
    values = array.ravel()
    if dtype != tf.string:
        values = values.view(stored)
    getattr(proto, field).extend(values.tolist())
    return proto
