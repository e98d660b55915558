"""Layers whose result for a row need not depend on the rest of the batch.

CPU matrix products pick another order of summation for another number of rows, and
guidance multiplies a difference in the last bits by 10: now and then a sampled token
turns over. Measured with TensorFlow 2.20 on oneDNN's kernels and on Eigen's, for
AVX-512 and for AVX2, by `python -m benchmarks.row_bits`: a row's bits are the same

- in a matrix of 16, 24, 40, 48, 72 or 96 rows, whatever the others hold: Eigen
  multiplies by 4 to 6 rows at a time, and takes roots in norms by 8;
- in attention, for an even number of queries from 6 on;
- for 64, 128, ... keys, of which the masked ones add exact zeros.

So generation lays the rows of its decoder out in matrices of such heights
(`RowMatrix`). The encoder, whose length is fixed, multiplies each row of the batch on
its own (`row_stable=True`). Three limits, of interest for toys only: kernels need more
than 1024 entries (below, TensorFlow multiplies by another algorithm), text lengths a
multiple of 16 and decoders a multiple of 4 heads (else the last elements of an array
miss the vectorized exponential or division).
"""

# B batch, T tokens, D width, R decoder rows, W tokens of a row, M matrix rows,
# Q queries

import keras
from keras import ops

from keras_dalle.layers.narrow_weights import (
    NARROW_KERNELS,
    NarrowKernel,
    NarrowWeights,
    widened,
)

MAX_ROWS = 96
MIN_QUERIES = 6
KEYS_STEP = 64


@keras.saving.register_keras_serializable(package="keras_dalle")
class Dense(keras.layers.Dense):
    """A dense layer with a row-stable mode for generation, and with narrow weights.

    A weights file holds the kernel in any width, and a layer of any width reads it.

    Args:
        units: width of the output.
        use_bias: whether there is a bias; DALL·E mini has none.
        **kwargs: of `keras.layers.Dense`.

    Call arguments:
        inputs: `[..., D]`.
        row_stable: if `True`, `inputs` is `[B, T, D]` and each `[T, D]` is
            multiplied on its own.
    """

    def __init__(self, units: int, use_bias: bool = False, **kwargs):
        super().__init__(units, use_bias=use_bias, **kwargs)
        self.narrow_kernel: NarrowKernel | None = None

    def build(self, input_shape):
        if not isinstance(self.dtype_policy, NarrowWeights):
            super().build(input_shape)
            return
        kernel_class = NARROW_KERNELS[self.dtype_policy.weights]
        self.narrow_kernel = kernel_class(self, input_shape[-1], self.units)
        self.bias = (
            self.add_weight(
                name="bias", shape=(self.units,), initializer=self.bias_initializer
            )
            if self.use_bias
            else None
        )
        self.built = True

    def call(self, inputs, row_stable=False, training=None):
        if self.narrow_kernel is not None:
            return self._multiply_narrow(self.narrow_kernel, inputs)
        if not row_stable:
            return super().call(inputs)
        # A kernel of rank 3 keeps the product batched: with rank 2, Keras
        # flattens all rows into one matrix.
        outputs = ops.matmul(inputs, ops.expand_dims(self.kernel, 0))
        return outputs + self.bias if self.use_bias else outputs

    def _multiply_narrow(self, kernel: NarrowKernel, inputs):
        x_MD = ops.reshape(inputs, (-1, inputs.shape[-1]))
        outputs = kernel.multiply(x_MD)
        outputs = ops.reshape(outputs, (*ops.shape(inputs)[:-1], self.units))
        return outputs + self.bias if self.use_bias else outputs

    def save_own_variables(self, store):
        if self.narrow_kernel is None:
            super().save_own_variables(store)
            return
        biases = [self.bias] if self.use_bias else []
        for number, values in enumerate([*self.narrow_kernel.stored(), *biases]):
            store[str(number)] = values

    def load_own_variables(self, store):
        arrays = [store[str(number)] for number in range(len(store.keys()))]
        bias = arrays.pop() if self.use_bias and len(arrays) > 1 else None
        if self.narrow_kernel is not None:
            self.narrow_kernel.load(arrays)
        elif len(arrays) == 2:
            self._kernel.assign(widened(arrays))
        else:
            super().load_own_variables(store)
            return
        if bias is not None and self.bias is not None:
            self.bias.assign(bias)


class RowMatrix:
    """Lays W states of each of R rows out as a matrix of a row-stable height.

    Args:
        num_rows: R, an int or a scalar tensor.
        length: W, an int or a scalar tensor.
    """

    def __init__(self, num_rows, length):
        self.num_rows = num_rows
        self.length = length
        self._count = num_rows * length
        # Here, so that a graph computes them once a pass.
        self._missing_rows = _missing_rows(self._count)
        self._missing_queries = _missing_queries(length)

    def join(self, x_RWD):
        """`[R, W or more, D]` -> `[M, D]`, filled with zeros."""
        width = x_RWD.shape[-1]
        x_MD = ops.reshape(x_RWD[:, : self.length], (self._count, width))
        filling = ops.zeros((self._missing_rows, width), x_RWD.dtype)
        return ops.concatenate([x_MD, filling], axis=0)

    def split(self, x_MD):
        """`[M, D]` -> `[R, W, D]`."""
        shape = (self.num_rows, self.length, x_MD.shape[-1])
        return ops.reshape(x_MD[: self._count], shape)

    def split_queries(self, x_MD):
        """`[M, D]` -> `[R, Q, D]`, Q even and at least 6: filled with zeros."""
        return self.pad_queries(self.split(x_MD))

    def pad_queries(self, x_RW):
        """`[R, W, ...]` -> `[R, Q, ...]`, filled with zeros."""
        shape = (self.num_rows, self._missing_queries, *x_RW.shape[2:])
        return ops.concatenate([x_RW, ops.zeros(shape, x_RW.dtype)], axis=1)


def _missing_rows(count):
    """From `count` to the next of 16, 24, 40, 48, 72, 96."""
    missing = -count % 24
    if isinstance(missing, int):
        return missing - 8 if missing >= 8 and count <= 40 else missing
    return ops.where((missing >= 8) & (count <= 40), missing - 8, missing)


def _missing_queries(length):
    """From `length` to the next even number, 6 at least."""
    if isinstance(length, int):
        return max(MIN_QUERIES - length, length % 2)
    return ops.maximum(MIN_QUERIES - length, length % 2)


def row_stable_softmax(logits):
    """Softmax over the last axis, from operations that treat rows alike."""
    weights = ops.exp(logits - ops.max(logits, axis=-1, keepdims=True))
    return weights / ops.sum(weights, axis=-1, keepdims=True)
