"""For which shapes a row's bits do not depend on the rows beside it.

What `keras_dalle/layers/row_stable.py` builds on. Multiplies the same rows in matrices
of several heights, and attends with several numbers of queries and keys, and prints
which agree bit for bit. TensorFlow has several kernels; so that one machine shows them:

python -m benchmarks.row_bits
TF_ENABLE_ONEDNN_OPTS=0 python -m benchmarks.row_bits
TF_ENABLE_ONEDNN_OPTS=0 DNNL_MAX_CPU_ISA=AVX2 python -m benchmarks.row_bits
"""

# M rows of a matrix, R decoder rows, N heads, H head width, Q queries, S keys

import numpy as np
import tensorflow as tf

HEIGHTS = (*range(2, 49), 64, 72, 80, 88, 96, 112, 144)
KERNELS = ((1024, 3072), (2730, 1024), (256, 768), (1024, 16384))
QUERIES = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 32, 64)
KEYS = (48, 64, 128, 192, 256)
FILLED = 40
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype("float32")


def agreeing_heights(kernel):
    """The heights at which every row is what it is in blocks of 16."""
    multiply = tf.function(lambda x_MD: tf.matmul(x_MD, kernel))
    rows = normal(144, kernel.shape[0])
    expected = np.concatenate(
        [multiply(rows[i : i + 16]).numpy() for i in range(0, 144, 16)]
    )
    return [m for m in HEIGHTS if (multiply(rows[:m]).numpy() == expected[:m]).all()]


def attention(q_RQNH, k_RNSH, v_RNSH):
    logits_RNQS = tf.einsum("RQNH,RNSH->RNQS", q_RQNH, k_RNSH)
    is_key_S = tf.range(tf.shape(k_RNSH)[2]) < FILLED
    weights_RNQS = tf.nn.softmax(logits_RNQS + tf.where(is_key_S, 0.0, -1e9))
    return tf.einsum("RNQS,RNSH->RQNH", weights_RNQS, v_RNSH)


def classes(results):
    """The arguments, grouped by equal bits of their results."""
    found: dict[bytes, list] = {}
    for argument, result in results.items():
        found.setdefault(result.numpy().tobytes(), []).append(argument)
    return list(found.values())


def main():
    print("heights at which all rows agree:")
    for shape in KERNELS:
        print(f"  kernel {shape}: {agreeing_heights(tf.constant(normal(*shape)))}")
    q, k, v = normal(4, 64, 16, 64), normal(4, 16, 256, 64), normal(4, 16, 256, 64)
    attend = tf.function(attention, reduce_retracing=True)
    by_queries = {
        n: attend(q[:2, :n], k[:2, :, :64], v[:2, :, :64])[0, 0] for n in QUERIES
    }
    by_keys = {n: attend(q[:2, :6], k[:2, :, :n], v[:2, :, :n])[0, 0] for n in KEYS}
    by_rows = {
        n: attend(q[:n, :6], k[:n, :, :64], v[:n, :, :64])[0, 0] for n in (1, 2, 3, 4)
    }
    for name, results in (
        ("queries", by_queries),
        (f"keys, {FILLED} of them filled", by_keys),
        ("decoder rows", by_rows),
    ):
        print(f"attention, groups of {name} that agree: {classes(results)}")


if __name__ == "__main__":
    main()
