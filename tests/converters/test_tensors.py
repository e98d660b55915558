"""Tensors that are read when they are asked for."""

import numpy as np
import pytest

from keras_dalle.converters.tensors import StoredTensor, num_bytes, stack


def _counting(array, reads):
    def read():
        reads.append(array.shape)
        return array

    return StoredTensor(array.shape, array.dtype, read)


def test_nothing_is_read_until_asked_for():
    reads = []
    tensor = _counting(np.arange(6.0).reshape(3, 2), reads)
    layer = stack([tensor, tensor]).layer(1).layer(2)
    assert layer.shape == (2,)
    assert layer.nbytes == 16
    assert reads == []
    np.testing.assert_array_equal(layer.read(), [4.0, 5.0])
    assert reads == [(3, 2)]


def test_stack_is_the_inverse_of_layer():
    array_L23 = np.arange(24.0).reshape(4, 2, 3)
    whole = StoredTensor.of(array_L23)
    stacked = stack([whole.layer(i) for i in range(4)])
    assert (stacked.shape, stacked.dtype) == (whole.shape, whole.dtype)
    np.testing.assert_array_equal(stacked.read(), array_L23)


def test_stack_of_unlike_tensors():
    tensors = [StoredTensor.of(np.ones(n)) for n in (2, 3)]
    with pytest.raises(ValueError, match="must have one shape and dtype"):
        stack(tensors)


def test_num_bytes_does_not_overflow():
    assert num_bytes((2**40, 2**40), np.dtype("float32")) == 2**82
