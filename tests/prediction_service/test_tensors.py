"""Tensors of any dtype, of any size that a proto can claim, and there and back."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from keras_dalle.prediction_service import tensors
from keras_dalle.prediction_service.tensors import (
    TensorReader,
    TooLarge,
    fill_tensor,
)

LIMIT = 6000
NUMBERS = [
    *(tf.float32, tf.float64, tf.half, tf.bfloat16, tf.complex64, tf.complex128),
    *(tf.int8, tf.int16, tf.int32, tf.int64, tf.bool),
    *(tf.uint8, tf.uint16, tf.uint32, tf.uint64),
    *(tf.as_dtype(f"float8_{kind}") for kind in ("e5m2", "e4m3fn")),
    *(tf.as_dtype(name) for name in ("int4", "uint4", "int2", "uint2")),
]


def proto_of(dtype, shape, **values):
    proto = tensor_pb2.TensorProto(dtype=tf.as_dtype(dtype).as_datatype_enum)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    proto.MergeFrom(tensor_pb2.TensorProto(**values))
    return proto


def parse(proto):
    return TensorReader().parse(proto)


def filled(array, as_content=False):
    proto = tensor_pb2.TensorProto()
    fill_tensor(proto, array, as_content)
    return proto


@pytest.fixture
def small_limit(monkeypatch):
    monkeypatch.setattr(tensors, "MAX_EXTRA_BYTES", LIMIT)


@pytest.mark.parametrize("as_content", [False, True], ids=["list", "content"])
@pytest.mark.parametrize("dtype", [*NUMBERS, tf.string], ids=lambda x: x.name)
def test_there_and_back(dtype, as_content, monkeypatch):
    monkeypatch.setattr(tensors, "_VALUES_AT_ONCE", 4)
    array = np.array([[0, 1], [1, 1], [0, 1]]).astype(dtype.as_numpy_dtype)
    if dtype == tf.string:
        array = np.array([[b"", b"\xff"], [b"a" * 30, b""], [b"\x00", b"b"]], object)
    proto = filled(array, as_content)
    assert proto.dtype == dtype.as_datatype_enum
    parsed = parse(proto)
    assert parsed.dtype == array.dtype
    np.testing.assert_array_equal(parsed, array)
    # As clients read it.
    np.testing.assert_array_equal(tf.make_ndarray(proto), array)


@pytest.mark.parametrize(
    "array, field",
    [
        (np.float32([1.5, -np.inf, 0.0]), "float_val"),
        (np.float64([1e300]), "double_val"),
        (np.int32([-1, 2**31 - 1, 127, 128]), "int_val"),
        (np.uint8([[0, 255], [128, 7]]), "int_val"),
        (np.int64([-(2**63), 3]), "int64_val"),
        (np.uint64([2**64 - 1]), "uint64_val"),
        (np.uint32([2**32 - 1]), "uint32_val"),
        (np.array([True, False]), "bool_val"),
        (np.array(5, np.int16), "int_val"),
        (np.zeros([2, 0], np.float32), "float_val"),
    ],
)
def test_numbers_are_in_the_list_of_their_dtype(array, field):
    expected = tensor_pb2.TensorProto(dtype=tf.as_dtype(array.dtype).as_datatype_enum)
    expected.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
    getattr(expected, field).extend(array.ravel().tolist())
    assert filled(array) == expected
    assert filled(array).SerializeToString() == expected.SerializeToString()


def test_small_integers_keep_their_sign():
    array = np.array([-8, 7, -1]).astype(tf.as_dtype("int4").as_numpy_dtype)
    assert list(filled(array).int_val) == [-8, 7, -1]


def test_bits_of_halves_and_parts_of_complex_numbers():
    assert list(filled(np.float16([1.0, -2.0])).half_val) == [0x3C00, 0xC000]
    assert list(filled(np.complex64([1 + 2j])).scomplex_val) == [1.0, 2.0]
    assert filled(b"scalar").string_val[:] == [b"scalar"]


@pytest.mark.parametrize("dtype", NUMBERS, ids=lambda x: x.name)
def test_a_number_repeats_within_the_limit(dtype, small_limit):
    one = filled(np.ones([1], dtype.as_numpy_dtype))
    one.tensor_shape.dim[0].size = most = 1 + LIMIT // dtype.size
    np.testing.assert_array_equal(parse(one), np.ones([most], dtype.as_numpy_dtype))
    one.tensor_shape.dim[0].size += 1
    with pytest.raises(TooLarge):
        parse(one)


@pytest.mark.parametrize("text", [b"", b"a" * 100], ids=len)
def test_a_string_repeats_with_its_text(text, small_limit):
    most = (LIMIT - 65 * 2) // (65 + 2 * len(text)) + 2
    proto = proto_of(tf.string, [most], string_val=[b"first" * 10, text])
    assert list(parse(proto)) == [b"first" * 10, *[text] * (most - 1)]
    proto.tensor_shape.dim[0].size += 1
    with pytest.raises(TooLarge):
        parse(proto)


@pytest.mark.parametrize("field", ["string_val", "tensor_content"])
def test_strings_that_are_sent_are_counted_without_their_text(field, small_limit):
    most = LIMIT // 65

    def strings(count):
        texts = {"string_val": [b"a" * 9] * count}
        if field == "tensor_content":
            texts = {field: b"\x09" * count + b"a" * 9 * count}
        return proto_of(tf.string, [count], **texts)

    assert list(parse(strings(most))) == [b"a" * 9] * most
    with pytest.raises(TooLarge):
        parse(strings(most + 1))


def test_no_value_at_all_is_repeated_as_well(small_limit):
    assert list(parse(proto_of(tf.string, [2]))) == [b"", b""]
    for dtype in (tf.string, tf.int8, tf.complex128):
        with pytest.raises(TooLarge):
            parse(proto_of(dtype, [LIMIT + 1]))


def test_the_limit_is_for_all_tensors_of_a_call(small_limit):
    reader = TensorReader()
    half = proto_of(tf.float32, [LIMIT // 8], float_val=[1.0])
    reader.parse(half)
    reader.parse(half)
    with pytest.raises(TooLarge):
        reader.parse(half)


def test_numbers_that_are_sent_have_no_limit(small_limit):
    for dtype in (np.float64, np.int64, np.complex64):
        for as_content in (False, True):
            assert len(parse(filled(np.ones(LIMIT, dtype), as_content))) == LIMIT


@pytest.mark.parametrize("dtype", [0, 20, 21, 33, 77, 101, 107, 120, 121, 2**31 - 1])
def test_what_is_never_parsed(dtype):
    proto = tensor_pb2.TensorProto(dtype=dtype)
    proto.variant_val.add(type_name="tensorflow::Tensor")
    with pytest.raises(ValueError, match="dtype"):
        parse(proto)


def test_every_dtype_has_a_list():
    all_names = types_pb2.DataType.DESCRIPTOR.values_by_name
    names = {name for name in all_names if not name.endswith("_REF")}
    without = {"DT_INVALID", "DT_VARIANT", "DT_RESOURCE"}
    readable = {types_pb2.DataType.Name(x) for x in tensors._LIST_OF_DTYPE}
    assert readable == names - without


@pytest.mark.parametrize(
    "dtype, shape, content",
    [
        (tf.float32, [1], b"123"),
        (tf.float32, [2], b"1234"),
        (tf.float32, [-1], b"1234"),
        (tf.int8, [2, -2], b""),
        # 1 where a product is of 64 bits.
        (tf.float32, [274177, 67280421310721], b"1234"),
        (tf.int64, [2**62, 4], b"12345678"),
        (tf.int64, [2**40, 2**40, 0], b""),
        (tf.float32, [1] * 300, b""),
        (tf.float32, [1] * 100, b""),
        (tf.string, [3], b"\x00\x00"),
        (tf.string, [2**62], b"\x00\x00"),
        (tf.string, [2], b"\x05\x00ab"),
    ],
)
def test_what_is_no_tensor(dtype, shape, content):
    with pytest.raises(ValueError):
        parse(proto_of(dtype, shape, tensor_content=content))


def test_what_has_no_rank():
    proto = proto_of(tf.int32, [])
    proto.tensor_shape.unknown_rank = True
    with pytest.raises(ValueError, match="rank"):
        parse(proto)


def test_missing_values_repeat_the_last_as_in_cpp():
    proto = proto_of(tf.int64, [2, 2], int64_val=[3, 5])
    np.testing.assert_array_equal(parse(proto), [[3, 5], [5, 5]])
