"""Weights in fewer bits, for generation: kernels in bfloat16 or int8.

What is computed with stays float32: norms, softmax, residuals and logits. Kernels are
stored transposed, as they are multiplied with fastest
(`python -m benchmarks.narrow_products`): those of bfloat16 as a transposed right
operand, so that nothing else is transposed; those of int8 as the left one, which oneDNN
reads as it lies.

Rows need no stable heights here: int8 products are sums of integers, and of bfloat16
ones each row was the same bits in matrices of 2 to 6144 rows.
"""

# M rows, K input width, N output width

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
import ml_dtypes
import numpy as np
from keras import ops

FLOAT32 = "float32"
BFLOAT16 = "bfloat16"
INT8 = "int8"
WEIGHTS = (FLOAT32, BFLOAT16, INT8)
_LARGEST = 127  # of symmetric int8
OFFSET = 128  # oneDNN wants the left operand unsigned.


@keras.saving.register_keras_serializable(package="keras_dalle")
class NarrowWeights(keras.DTypePolicy):
    """Computes in float32 with kernels in fewer bits.

    Embeddings are bfloat16. Biases, position embeddings and norms stay float32. Such
    kernels are not trained: they are zero until weights are loaded.

    Args:
        weights: `"bfloat16"` or `"int8"`.

    Raises:
        ValueError: `weights` is neither.
    """

    def __init__(self, weights):
        if weights not in NARROW_KERNELS:
            raise ValueError(
                f"`weights` must be one of {', '.join(WEIGHTS)}. Received: {weights!r}."
            )
        super().__init__("float32")
        self.weights = weights

    def get_config(self):
        return {"weights": self.weights}

    def __eq__(self, other):
        return isinstance(other, NarrowWeights) and self.weights == other.weights

    def __hash__(self):
        return hash((type(self), self.weights))

    def __repr__(self):
        return f'<NarrowWeights "{self.weights}">'


def policy_of_weights(weights):
    """The dtype policy of a model whose weights are held in so many bits.

    Args:
        weights: one of `WEIGHTS`.
    """
    return "float32" if weights == FLOAT32 else NarrowWeights(weights)


def policy_of_logits(dtype):
    """The dtype policy of the layer that makes logits, in a model of policy `dtype`.

    A bfloat16 product is rounded to 8 bits, in which likely tokens tie.
    """
    policy = keras.dtype_policies.get(dtype)
    is_rounded = isinstance(policy, NarrowWeights) and policy.weights == BFLOAT16
    return "float32" if is_rounded else dtype


# === Integer products ===

IntegerProduct = Callable[..., Any]


def portable_integer_product(states_MK, step_M1, kernel_NK):
    """`step * (states @ transpose(kernel - 128))`, on any backend.

    Args:
        states_MK: float32, whole numbers from -127 to 127.
        step_M1: float32.
        kernel_NK: uint8.

    Returns:
        Float32 `[M, N]`; the sums are exact below 2^24.
    """
    kernel_NK = ops.cast(kernel_NK, "float32") - float(OFFSET)
    return step_M1 * ops.matmul(states_MK, ops.transpose(kernel_NK))


_integer_product: ContextVar[IntegerProduct] = ContextVar(
    "integer_product", default=portable_integer_product
)


@contextmanager
def integer_products_by(product: IntegerProduct) -> Iterator[None]:
    """Lets int8 kernels multiply by `product` in the block.

    Args:
        product: as `portable_integer_product`, and with the same numbers as result.
    """
    token = _integer_product.set(product)
    try:
        yield
    finally:
        _integer_product.reset(token)


def quantized_rows(x_MK):
    """Each row in steps of 1/127 of its largest entry.

    A row's result depends on the row alone.

    Returns:
        Whole numbers `[M, K]` from -127 to 127, and the steps `[M, 1]`.
    """
    largest_M1 = ops.max(ops.abs(x_MK), axis=-1, keepdims=True)
    step_M1 = ops.maximum(largest_M1, 1e-30) / _LARGEST
    return ops.round(x_MK / step_M1), step_M1


# === Kernels ===


@functools.lru_cache(maxsize=4)
def _shared_zeros(shape, dtype):
    return ops.zeros(shape, dtype)


def _unset(shape, dtype=None):
    """Zeros that take no memory of their own until a value is assigned.

    TensorFlow's variables share a tensor that they are made of. Memory that each had
    of its own would be free after loading, but in pieces: DALL·E Mega took 0.7 GB more.
    """
    if keras.backend.backend() != "tensorflow":
        return ops.zeros(shape, dtype)
    return _shared_zeros(tuple(shape), dtype)


def widened(arrays):
    """The kernel `[K, N]` of a weights file's arrays, whatever it is stored in."""
    kernel_KN, *step_N = arrays
    return kernel_KN.astype("float32") * step_N[0] if step_N else kernel_KN


class NarrowKernel(ABC):
    """The kernel of a dense layer, `[K, N]` to those who load, save or convert it.

    Args:
        layer: the layer, which gets the variables.
        input_dim: K.
        units: N.
    """

    dtype = "float32"

    def __init__(self, layer, input_dim, units):
        self.shape = (input_dim, units)
        self.compute_dtype = layer.compute_dtype
        self._build(layer)

    @abstractmethod
    def _build(self, layer):
        """Adds the variables to the layer."""

    @abstractmethod
    def multiply(self, x_MK):
        """`x @ kernel`, `[M, N]` in the compute dtype."""

    @abstractmethod
    def parts(self):
        """Pairs of a variable and a function from `kernel_KN` to its value."""

    @abstractmethod
    def stored(self):
        """Arrays of a weights file, of which the first is `[K, N]`."""

    @property
    def path(self):
        return self.parts()[0][0].path

    def assign(self, kernel_KN):
        """Sets the values to those of an array."""
        for variable, convert in self.parts():
            variable.assign(convert(kernel_KN))

    def load(self, arrays):
        """Sets the values to those of a weights file."""
        self.assign(widened(arrays))

    def __array__(self, dtype=None, copy=None):
        return np.asarray(widened(self.stored()), dtype or self.dtype)


class Bfloat16Kernel(NarrowKernel):
    """A kernel in bfloat16, with which states are multiplied in bfloat16.

    Sums are float32, results are rounded to bfloat16.
    """

    # Where rows lie a multiple of 1 KiB apart, they compete for the same lines of the
    # cache: 1024 × 3072 took 585 µs, with 32 more columns 446 µs.
    _PADDING, _CROWDED = 32, 512

    def _build(self, layer):
        input_dim, units = self.shape
        self.padding = 0 if input_dim % self._CROWDED else self._PADDING
        self.variable = layer.add_weight(
            name="kernel",
            shape=(units, input_dim + self.padding),
            initializer=_unset,
            dtype=BFLOAT16,
            autocast=False,
            trainable=False,
        )

    def multiply(self, x_MK):
        x_MK = ops.cast(x_MK, BFLOAT16)
        if self.padding:
            x_MK = ops.pad(x_MK, ((0, 0), (0, self.padding)))
        # In a graph, TensorFlow makes one operation of both.
        y_MN = ops.matmul(x_MK, ops.transpose(self.variable))
        return ops.cast(y_MN, self.compute_dtype)

    def parts(self):
        return [(self.variable, self._transposed)]

    def _transposed(self, kernel_KN):
        # By NumPy: what TensorFlow's operations leave free, its allocator gives to
        # smaller tensors as a whole, 0.4 GB of DALL·E Mega.
        kernel_KN = np.asarray(kernel_KN).astype(ml_dtypes.bfloat16, copy=False)
        width, units = self.shape
        transposed_NK = np.zeros((units, width + self.padding), ml_dtypes.bfloat16)
        # NumPy copies integers faster than numbers of a type that is not its own.
        transposed_NK.view("uint16")[:, :width] = kernel_KN.view("uint16").T
        return transposed_NK

    def stored(self):
        values_NK = keras.ops.convert_to_numpy(self.variable.value)
        return [np.ascontiguousarray(values_NK[:, : self.shape[0]].T)]


class Int8Kernel(NarrowKernel):
    """A kernel of integers from -127 to 127, with a step for each output.

    States are quantized too, row by row, and products are sums of integers
    (https://arxiv.org/abs/2208.07339, without its outliers).
    """

    # Of 2730 outputs oneDNN makes uneven blocks, which take longer than 2752.
    _OUTPUTS = 64

    def _build(self, layer):
        input_dim, units = self.shape
        self.padding = -units % self._OUTPUTS
        self.variable = layer.add_weight(
            name="kernel",
            shape=(units + self.padding, input_dim),
            initializer=_unset,
            dtype="uint8",
            autocast=False,
            trainable=False,
        )
        self.step = layer.add_weight(
            name="kernel_step",
            shape=(units,),
            initializer="zeros",
            dtype="float32",
            autocast=False,
            trainable=False,
        )

    def multiply(self, x_MK):
        y_MN = _integer_product.get()(*quantized_rows(x_MK), self.variable.value)
        if self.padding:
            y_MN = y_MN[:, : self.shape[1]]
        return ops.cast(y_MN * self.step, self.compute_dtype)

    def parts(self):
        return [(self.variable, self._integers), (self.step, self._steps)]

    def _integers(self, kernel_KN):
        kernel_KN = ops.cast(kernel_KN, "float32")
        return self._stored_integers(ops.round(kernel_KN / self._steps(kernel_KN)))

    def _stored_integers(self, integers_KN):
        unsigned_KN = ops.cast(ops.cast(integers_KN, "int32") + OFFSET, "uint8")
        unsigned_NK = ops.transpose(unsigned_KN)
        if not self.padding:
            return unsigned_NK
        return ops.pad(unsigned_NK, ((0, self.padding), (0, 0)))

    def _steps(self, kernel_KN):
        largest_N = ops.max(ops.abs(ops.cast(kernel_KN, "float32")), axis=0)
        return ops.maximum(largest_N, 1e-30) / _LARGEST

    def load(self, arrays):
        if len(arrays) == 1:
            super().load(arrays)
            return
        integers_KN, step_N = arrays
        self.variable.assign(self._stored_integers(integers_KN))
        self.step.assign(step_N)

    def stored(self):
        unsigned_NK = ops.convert_to_numpy(self.variable.value)[: self.shape[1]]
        integers_KN = (unsigned_NK.astype("int16") - OFFSET).astype("int8").T
        return [np.ascontiguousarray(integers_KN), ops.convert_to_numpy(self.step)]


NARROW_KERNELS: dict[str, type[NarrowKernel]] = {
    BFLOAT16: Bfloat16Kernel,
    INT8: Int8Kernel,
}
