"""Products of few rows with kernels in float32, bfloat16 and int8, several ways.

What `keras_dalle/layers/narrow_weights.py` builds on, and what it does not. Each way
multiplies by kernels one after another that together are larger than the caches, as a
pass of the decoder does. Prints microseconds a product.

PYTHONPATH=. python benchmarks/narrow_products.py
PYTHONPATH=. python benchmarks/narrow_products.py --model mega --rows 16
"""

# M rows, K input width, N output width

import argparse
import statistics
import time

import numpy as np
import tensorflow as tf

from keras_dalle.generation.integer_products import integer_product_of_few_rows
from keras_dalle.layers.narrow_weights import NarrowWeights, integer_products_by
from keras_dalle.layers.row_stable import Dense

# Query, key and value; GLU; its output; logits.
SHAPES = {
    "mini": ((1024, 1024), (1024, 2730), (2730, 1024), (1024, 16384)),
    "mega": ((2048, 2048), (2048, 4096), (4096, 2048), (2048, 16384)),
}
CACHES_BYTES = 200_000_000  # in float32
ROUNDS = 9
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape, np.float32)


def integers(*shape):
    return RNG.integers(0, 128, shape, np.uint8)


# === Ways: each from a shape to a variable and a product of states [M, K] ===


def dense(dtype):
    def way(shape):
        layer = Dense(shape[1], dtype=dtype)
        layer.build((None, shape[0]))
        layer.load_own_variables({"0": normal(*shape)})
        return layer

    return way


def operands(kernel, multiply):
    def way(shape):
        variable = tf.Variable(kernel(shape))
        return lambda x_MK: multiply(x_MK, variable)

    return way


def bfloat16(x):
    return tf.cast(x, tf.bfloat16)


WAYS = {
    "float32": dense("float32"),
    "bfloat16, as in narrow_weights": dense(NarrowWeights("bfloat16")),
    "int8, as in narrow_weights": dense(NarrowWeights("int8")),
    "bfloat16, kernel on the left": operands(
        lambda shape: bfloat16(normal(shape[1], shape[0])),
        lambda x, kernel: tf.transpose(kernel @ tf.transpose(bfloat16(x))),
    ),
    "bfloat16, kernel not transposed": operands(
        lambda shape: bfloat16(normal(*shape)),
        lambda x, kernel: tf.matmul(bfloat16(x), kernel),
    ),
    "bfloat16, cast to float32": operands(
        lambda shape: bfloat16(normal(*shape)),
        lambda x, kernel: tf.matmul(x, tf.cast(kernel, tf.float32)),
    ),
    "int8, tf.matmul": operands(
        lambda shape: integers(*shape).astype(np.int8),
        lambda x, kernel: tf.matmul(tf.cast(x, tf.int8), kernel, output_type=tf.int32),
    ),
    "int8, cast to float32": operands(
        lambda shape: integers(*shape).astype(np.int8),
        lambda x, kernel: tf.matmul(x, tf.cast(kernel, tf.float32)),
    ),
}


def microseconds(way, shape, num_rows):
    """The median time of a product, of a chain that no product can leave."""
    count = max(3, CACHES_BYTES // (4 * shape[0] * shape[1]))
    products = [way(shape) for _ in range(count)]

    @tf.function(autograph=False)
    def chain(x_MK):
        with integer_products_by(integer_product_of_few_rows):
            for product in products:
                x_MK += 1e-30 * tf.cast(product(x_MK)[:1, :1], tf.float32)
        return x_MK[0, 0]

    x_MK = tf.constant(normal(num_rows, shape[0]))
    chain(x_MK).numpy()
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        chain(x_MK).numpy()
        seconds.append(time.perf_counter() - start)
    return 1e6 * statistics.median(seconds) / count


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", choices=SHAPES, default="mini")
    parser.add_argument("--rows", type=int, nargs="+", default=[16, 48])
    arguments = parser.parse_args()
    shapes = SHAPES[arguments.model]
    for num_rows in arguments.rows:
        names = " | ".join(f"{k} × {n}" for k, n in shapes)
        print(f"\n| {num_rows} rows, µs | {names} |")
        print("|---" * (len(shapes) + 1) + "|")
        for name, way in WAYS.items():
            times = [f"{microseconds(way, shape, num_rows):,.0f}" for shape in shapes]
            print(f"| {name} | {' | '.join(times)} |", flush=True)


if __name__ == "__main__":
    main()
