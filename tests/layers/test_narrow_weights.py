"""Kernels in bfloat16 and int8: exact where they say so, near elsewhere."""

# M rows, K input width, N output width

import keras
import numpy as np
import pytest
from keras import ops

from keras_dalle.generation.integer_products import (
    integer_product,
    integer_product_of_few_rows,
)
from keras_dalle.layers.embedding import Embedding
from keras_dalle.layers.narrow_weights import (
    NarrowWeights,
    integer_products_by,
    policy_of_logits,
    policy_of_weights,
    portable_integer_product,
    quantized_rows,
)
from keras_dalle.layers.row_stable import Dense

NARROW = ("bfloat16", "int8")
# 512 is a width that bfloat16 kernels pad.
SHAPES = ((512, 96), (80, 48))


def rng():
    return np.random.default_rng(0)


def dense_pair(weights, shape, use_bias=False):
    """A float32 layer, and one of narrow weights that loaded what it saved."""
    wide = Dense(shape[1], use_bias=use_bias, bias_initializer="normal")
    narrow = Dense(shape[1], use_bias=use_bias, dtype=NarrowWeights(weights))
    for layer in (wide, narrow):
        layer.build((None, shape[0]))
    narrow.load_own_variables(stored(wide))
    return wide, narrow


def stored(layer):
    store: dict = {}
    layer.save_own_variables(store)
    return {name: ops.convert_to_numpy(values) for name, values in store.items()}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("weights", "tolerance"), [("bfloat16", 8e-3), ("int8", 2e-2)])
def test_product_is_near_that_of_float32(weights, tolerance, shape):
    wide, narrow = dense_pair(weights, shape, use_bias=True)
    x_BTK = rng().standard_normal((2, 3, shape[0])).astype("float32")
    expected, received = (np.asarray(layer(x_BTK)) for layer in (wide, narrow))
    assert received.dtype == np.float32
    assert np.abs(received - expected).max() < tolerance * np.abs(expected).max()
    assert (received != expected).any()


def test_bfloat16_product_is_of_rounded_factors():
    wide, narrow = dense_pair("bfloat16", (512, 96))
    x_MK = rng().standard_normal((4, 512)).astype("float32")
    factors = x_MK, wide.kernel
    x_MK, kernel_KN = (np.asarray(ops.cast(x, "bfloat16"), "float64") for x in factors)
    expected_MN = x_MK @ kernel_KN
    # bfloat16 has 8 bits: rounding moves a number by 2^-8 of it at most.
    error_MN = np.abs(np.asarray(narrow(x_MK)) - expected_MN)
    assert (error_MN <= 2**-8 * np.abs(expected_MN) + 1e-5).all()


def test_int8_product_is_of_exact_integers():
    _, narrow = dense_pair("int8", (80, 48))
    x_MK = rng().standard_normal((4, 80)).astype("float32")
    integers_KN, step_N = stored(narrow).values()
    q_MK, step_M1 = (np.asarray(x) for x in quantized_rows(ops.convert_to_tensor(x_MK)))
    assert np.abs(q_MK).max(axis=1).tolist() == [127] * 4
    assert np.abs(integers_KN).max(axis=0).tolist() == [127] * 48
    expected_MN = (q_MK.astype("int64") @ integers_KN).astype("float32")
    assert (q_MK == np.round(q_MK)).all()
    np.testing.assert_array_equal(narrow(x_MK), expected_MN * step_M1 * step_N)


def test_a_row_of_zeros_stays_zero():
    _, narrow = dense_pair("int8", (80, 48))
    assert not np.asarray(narrow(np.zeros((2, 80), "float32"))).any()


@pytest.mark.parametrize("weights", NARROW)
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_are_the_same_bits_in_any_height(weights, shape):
    _, narrow = dense_pair(weights, shape)
    x_MK = rng().standard_normal((48, shape[0])).astype("float32")
    for product in (integer_product, integer_product_of_few_rows):
        with integer_products_by(product):
            together_MN = np.asarray(narrow(x_MK))
            for height in (8, 16, 23, 40):
                some_MN = narrow(x_MK[:height])
                np.testing.assert_array_equal(some_MN, together_MN[:height])


@pytest.mark.parametrize("input_dim", [80, 2730])
@pytest.mark.parametrize(
    "product", [portable_integer_product, integer_product, integer_product_of_few_rows]
)
def test_all_integer_products_are_exact(product, input_dim):
    for m in (1, 16, 24):
        states_MK = rng().integers(-127, 128, (m, input_dim)).astype("float32")
        step_M1 = rng().standard_normal((m, 1)).astype("float32")
        kernel_NK = rng().integers(0, 256, (96, input_dim), "uint8")
        sums_MN = states_MK @ (kernel_NK.astype("float64") - 128).T
        arguments = (ops.convert_to_tensor(x) for x in (states_MK, step_M1, kernel_NK))
        np.testing.assert_array_equal(
            product(*arguments), step_M1 * sums_MN.astype("float32")
        )


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("weights", NARROW)
def test_weights_files_hold_any_width_and_are_read_in_any(weights, use_bias):
    wide, narrow = dense_pair(weights, (512, 96), use_bias)
    x_MK = rng().standard_normal((4, 512)).astype("float32")
    again = dense_pair(weights, (512, 96), use_bias)[1]
    again.load_own_variables(stored(narrow))
    np.testing.assert_array_equal(again(x_MK), narrow(x_MK))
    wide.load_own_variables(stored(narrow))
    np.testing.assert_array_equal(wide.kernel, np.asarray(narrow.narrow_kernel))
    if use_bias:
        np.testing.assert_array_equal(wide.bias, narrow.bias)


def test_embedding_is_bfloat16_and_gives_float32():
    embedding = Embedding(5, 8, dtype=NarrowWeights("int8"))
    states = embedding(np.array([[1, 4]]))
    assert embedding.embeddings.dtype == "bfloat16"
    assert states.dtype == "float32"


def test_policies_are_serialized():
    policy = NarrowWeights("int8")
    config = keras.dtype_policies.serialize(policy)
    assert keras.dtype_policies.get(config) == policy
    assert policy != NarrowWeights("bfloat16")
    assert policy_of_weights("float32") == "float32"


def test_logits_are_not_rounded_to_bfloat16():
    assert policy_of_logits(NarrowWeights("bfloat16")) == "float32"
    assert policy_of_logits(NarrowWeights("int8")) == NarrowWeights("int8")
    assert policy_of_logits("mixed_bfloat16") == "mixed_bfloat16"


def test_unknown_weights_are_refused():
    with pytest.raises(ValueError, match="float32, bfloat16, int8. Received: 'int3'"):
        NarrowWeights("int3")
