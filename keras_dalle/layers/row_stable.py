"""Layers whose result for a row need not depend on the rest of the batch.

CPU matrix products pick another order of summation for another number of rows.
Measured with TensorFlow 2.20: the same row times the same kernel differs in the
last bits between 2, 4 and 8 rows; guidance multiplies that by 10, and now and then
a sampled token turns over. In blocks of 16 rows the bits were equal for any number
of blocks, any place in a block and any neighbours; blocks of 8 and of 32 were not.
So generation lays rows out in tiles of 16 (`RowTiles`) and multiplies tile by tile
(`row_stable=True`). `tf.nn.softmax` varies with the number of rows as well; norms,
GELU and the batched products of attention did not. Two limits, of interest for toys
only: kernels need more than 1024 entries (below, TensorFlow multiplies one tile by
another algorithm than several), and text and image lengths a multiple of 16 (else
the last elements of an array miss the vectorized exponential).
"""

# B batch, T tokens, M = B * T rows, D width, G tiles, R rows of a tile

import keras
from keras import ops

ROWS_PER_TILE = 16


@keras.saving.register_keras_serializable(package="keras_dalle")
class Dense(keras.layers.Dense):
    """A dense layer with a row-stable mode for generation.

    Args:
        units: width of the output.
        use_bias: whether there is a bias; DALL·E mini has none.
        **kwargs: of `keras.layers.Dense`.

    Call arguments:
        inputs: `[..., D]`.
        row_stable: if `True`, `inputs` is `[G, R, D]` and each `[R, D]` is
            multiplied on its own.
    """

    def __init__(self, units: int, use_bias: bool = False, **kwargs):
        super().__init__(units, use_bias=use_bias, **kwargs)

    def call(self, inputs, row_stable=False, training=None):
        if not row_stable:
            return super().call(inputs)
        # A kernel of rank 3 keeps the product batched: with rank 2, Keras
        # flattens all rows into one matrix.
        outputs = ops.matmul(inputs, ops.expand_dims(self.kernel, 0))
        return outputs + self.bias if self.use_bias else outputs


class RowTiles:
    """Lays the rows of `[B, T, D]` out in tiles `[G, 16, D]` and back.

    Args:
        batch_size: B, an int or a scalar tensor.
        length: T, an int or a scalar tensor.
    """

    def __init__(self, batch_size, length):
        self.batch_size = batch_size
        self.length = length
        self._rows = batch_size * length

    def split(self, x_BTD):
        """`[B, T, D]` -> `[G, 16, D]`; the last tile is filled with zeros."""
        width = x_BTD.shape[-1]
        x_MD = ops.reshape(x_BTD, (self._rows, width))
        filling = ops.zeros((-self._rows % ROWS_PER_TILE, width), x_BTD.dtype)
        x_MD = ops.concatenate([x_MD, filling], axis=0)
        return ops.reshape(x_MD, (-1, ROWS_PER_TILE, width))

    def join(self, x_GRD):
        """`[G, 16, D]` -> `[B, T, D]`."""
        width = x_GRD.shape[-1]
        x_MD = ops.reshape(x_GRD, (-1, width))[: self._rows]
        return ops.reshape(x_MD, (self.batch_size, self.length, width))


def row_stable_softmax(logits):
    """Softmax over the last axis, from operations that treat rows alike."""
    weights = ops.exp(logits - ops.max(logits, axis=-1, keepdims=True))
    return weights / ops.sum(weights, axis=-1, keepdims=True)
