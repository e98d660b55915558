"""Products of uint8 kernels and int8 states, as fast as the machine can."""

# M rows, K input width, N output width

import functools

import numpy as np
import tensorflow as tf

from keras_dalle.layers.narrow_weights import OFFSET, portable_integer_product


def integer_product(states_MK: tf.Tensor, kernel_NK: tf.Tensor) -> tf.Tensor:
    """As `portable_integer_product`: by oneDNN where it is exact here."""
    if is_onednn_exact():
        return onednn_product(states_MK, kernel_NK)
    return portable_integer_product(states_MK, kernel_NK)


def onednn_product(states_MK: tf.Tensor, kernel_NK: tf.Tensor) -> tf.Tensor:
    """The same by an operation that there is in oneDNN alone.

    TensorFlow and TF Serving use oneDNN by themselves where a CPU has AVX-512, and
    elsewhere with `TF_ENABLE_ONEDNN_OPTS=1`.
    """
    # The largest values that the types hold: products are not scaled then. A bias of
    # integers would be, in an operation of its own.
    product_NM = tf.raw_ops.QuantizedMatMulWithBiasAndDequantize(
        a=tf.bitcast(kernel_NK, tf.quint8),
        b=tf.bitcast(tf.cast(tf.transpose(states_MK), tf.int8), tf.qint8),
        bias=-OFFSET * tf.reduce_sum(states_MK, axis=1),
        min_a=0.0,
        max_a=255.0,
        min_b=-127.0,
        max_b=127.0,
        min_freezed_output=0.0,
        max_freezed_output=1.0,
        Toutput=tf.float32,
        input_quant_mode="SCALED",
    )
    return tf.transpose(product_NM)


@functools.cache
def is_onednn_exact() -> bool:
    """Whether `onednn_product` runs here, and is right for the largest entries.

    Without AVX-512's or AVX's VNNI, sums of two products may saturate at 16 bits.
    """
    states_MK = np.full((16, 64), 127, np.float32)
    kernel_NK = np.full((16, 64), 255, np.uint8)
    with tf.init_scope():
        try:
            product_MN = onednn_product(tf.constant(states_MK), tf.constant(kernel_NK))
        except tf.errors.OpError:
            return False
        return bool((product_MN.numpy() == 64 * 127 * 127).all())
