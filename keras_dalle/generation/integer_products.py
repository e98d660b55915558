"""Products of uint8 kernels and int8 states, as fast as the machine can."""

# M rows, K input width, N output width

import functools

import numpy as np
import tensorflow as tf

from keras_dalle.layers.narrow_weights import OFFSET, portable_integer_product


def integer_product(kernel_NK: tf.Tensor, states_KM: tf.Tensor) -> tf.Tensor:
    """`(kernel - 128) @ states`, int32 `[N, M]`: by oneDNN where it is exact here."""
    if is_onednn_exact():
        return onednn_product(kernel_NK, states_KM)
    return portable_integer_product(kernel_NK, states_KM)


def onednn_product(kernel_NK: tf.Tensor, states_KM: tf.Tensor) -> tf.Tensor:
    """The same by an operation that there is in oneDNN alone.

    TensorFlow and TF Serving use oneDNN by themselves where a CPU has AVX-512, and
    elsewhere with `TF_ENABLE_ONEDNN_OPTS=1`.
    """
    # Once for a whole column of the product, not for each of its numbers.
    offset_M = -OFFSET * tf.reduce_sum(tf.cast(states_KM, tf.int32), axis=0)
    # The largest values that the types hold: products are not scaled then.
    product = tf.raw_ops.QuantizedMatMulWithBias(
        a=tf.bitcast(kernel_NK, tf.quint8),
        b=tf.bitcast(states_KM, tf.qint8),
        bias=tf.bitcast(offset_M, tf.qint32),
        min_a=0.0,
        max_a=255.0,
        min_b=-127.0,
        max_b=127.0,
        Toutput=tf.qint32,
        input_quant_mode="SCALED",
    )[0]
    return tf.bitcast(product, tf.int32)


@functools.cache
def is_onednn_exact() -> bool:
    """Whether `onednn_product` runs here, and is right for the largest entries.

    Without AVX-512's or AVX's VNNI, sums of two products may saturate at 16 bits.
    """
    kernel_NK = np.full((16, 64), 255, np.uint8)
    states_KM = np.full((64, 16), 127, np.int8)
    with tf.init_scope():
        try:
            product_NM = onednn_product(tf.constant(kernel_NK), tf.constant(states_KM))
        except tf.errors.OpError:
            return False
        return bool((product_NM.numpy() == 64 * 127 * 127).all())
