"""Products of uint8 kernels and int8 states, as fast as the machine can."""

# M rows, K input width, N output width

import functools

import numpy as np
import tensorflow as tf

from keras_dalle.layers.narrow_weights import OFFSET, portable_integer_product


def integer_product(
    states_MK: tf.Tensor, step_M1: tf.Tensor, kernel_NK: tf.Tensor
) -> tf.Tensor:
    """As `portable_integer_product`: by oneDNN where it is exact here.

    Unsigned kernels add 128 times the sum of a row's states, which is taken off after
    rounding to float32. So the sums are exact while that is below 2^24 as well: for
    sums of states up to 131,072, where 2730 states of one sign can reach 346,710.
    """
    if not is_onednn_exact():
        return portable_integer_product(states_MK, step_M1, kernel_NK)
    product_NM = _onednn_product(kernel_NK, tf.transpose(states_MK))
    return tf.transpose(product_NM) * step_M1


def integer_product_of_few_rows(
    states_MK: tf.Tensor, step_M1: tf.Tensor, kernel_NK: tf.Tensor
) -> tf.Tensor:
    """The same with less around it, for as many rows as a pass of the decoder has.

    A matrix is transposed by a product with the identity, and scaled by one with a
    diagonal: both are exact, and faster than TensorFlow's transposition.
    """
    if not is_onednn_exact():
        return portable_integer_product(states_MK, step_M1, kernel_NK)
    identity_MM = tf.eye(tf.shape(states_MK)[0])
    states_KM = tf.matmul(states_MK, identity_MM, transpose_a=True)
    product_NM = _onednn_product(kernel_NK, states_KM)
    return tf.matmul(step_M1 * identity_MM, product_NM, transpose_b=True)


def _onednn_product(kernel_NK, states_KM):
    """`(kernel - 128) @ states` by an operation that there is in oneDNN alone.

    TensorFlow and TF Serving use oneDNN by themselves where a CPU has AVX-512, and
    elsewhere with `TF_ENABLE_ONEDNN_OPTS=1`.
    """
    # The largest values that the types hold: products are not scaled then. A bias of
    # integers would be, in an operation of its own.
    return tf.raw_ops.QuantizedMatMulWithBiasAndDequantize(
        a=tf.bitcast(kernel_NK, tf.quint8),
        b=tf.bitcast(tf.cast(states_KM, tf.int8), tf.qint8),
        bias=-OFFSET * tf.reduce_sum(states_KM, axis=0),
        min_a=0.0,
        max_a=255.0,
        min_b=-127.0,
        max_b=127.0,
        min_freezed_output=0.0,
        max_freezed_output=1.0,
        Toutput=tf.float32,
        input_quant_mode="SCALED",
    )


@functools.cache
def is_onednn_exact() -> bool:
    """Whether `_onednn_product` runs here, and is right for the largest entries.

    Without AVX-512's or AVX's VNNI, sums of two products may saturate at 16 bits.
    """
    kernel_NK = np.full((16, 64), 255, np.uint8)
    states_KM = np.full((64, 16), 127, np.float32)
    with tf.init_scope():
        try:
            product_NM = _onednn_product(tf.constant(kernel_NK), tf.constant(states_KM))
        except tf.errors.OpError:
            return False
        return bool((product_NM.numpy() == 64 * 127 * 127).all())
