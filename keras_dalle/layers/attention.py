"""Multi-head attention, and the cache of keys and values for decoding."""

# B batch, T queries, S keys, D width, N heads, H head width, G tiles, R tile rows

import math

import keras
from keras import ops

from keras_dalle.layers.row_stable import Dense, row_stable_softmax

# Its exponential beside any real logit is exactly zero in float32, as with the
# original's -inf, but a row without any key stays finite.
MASKED_LOGIT = -1e9


@keras.saving.register_keras_serializable(package="keras_dalle")
class Attention(keras.layers.Layer):
    """Multi-head attention without biases; softmax in float32.

    Args:
        num_heads: number of heads, N.
        kernel_initializer: initializer of the four kernels `[D, D]`.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        x_BTD: queries are made from it.
        memory_BSD: keys and values are made from it.
        mask: bool, `True` where a query sees a key, broadcast to `[B, N, T, S]`.
        row_stable: multiply each batch entry on its own, see `Dense`.
    """

    def __init__(self, num_heads, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, x_shape):
        width = x_shape[-1]
        if width % self.num_heads:
            raise ValueError(
                f"The width (={width}) must be divisible by `num_heads` "
                f"(={self.num_heads})."
            )
        self.head_dim = width // self.num_heads
        for name in ("query", "key", "value", "attention_output"):
            dense = Dense(
                width,
                kernel_initializer=self.kernel_initializer.clone(),
                dtype=self.dtype_policy,
                name=name,
            )
            dense.build((None, None, width))
            setattr(self, name, dense)
        self.built = True

    def call(self, x_BTD, memory_BSD, mask, row_stable=False):
        q_BNTH = self._split_heads(self.query(x_BTD, row_stable=row_stable))
        k_BNSH, v_BNSH = self.keys_values(memory_BSD, row_stable=row_stable)
        context_BTD = self._attend(
            q_BNTH,
            k_BNSH,
            v_BNSH,
            mask,
            row_stable_softmax if row_stable else ops.softmax,
        )
        return self.attention_output(context_BTD, row_stable=row_stable)

    def keys_values(self, memory_BSD, row_stable=False):
        """Keys and values `[B, N, S, H]` of a memory `[B, S, D]`."""
        return (
            self._split_heads(self.key(memory_BSD, row_stable=row_stable)),
            self._split_heads(self.value(memory_BSD, row_stable=row_stable)),
        )

    def tiled_keys_values(self, x_GRD, tiles):
        """Keys and values `[B, N, T, H]` of tokens that lie in row tiles."""
        return (
            self._split_heads(tiles.join(self.key(x_GRD, row_stable=True))),
            self._split_heads(tiles.join(self.value(x_GRD, row_stable=True))),
        )

    def attend_tiled(self, x_GRD, tiles, keys_values, mask):
        """Attention of tokens that lie in row tiles to given keys and values.

        Args:
            x_GRD: the tokens' states in row tiles.
            tiles: the `RowTiles` that laid them out.
            keys_values: pair of `[B, N, S, H]`.
            mask: bool, broadcast to `[B, N, T, S]`.

        Returns:
            `[G, R, D]`.
        """
        q_BNTH = self._split_heads(tiles.join(self.query(x_GRD, row_stable=True)))
        k_BNSH, v_BNSH = keys_values
        context_BTD = self._attend(q_BNTH, k_BNSH, v_BNSH, mask, row_stable_softmax)
        return self.attention_output(tiles.split(context_BTD), row_stable=True)

    def _split_heads(self, x_BTD):
        batch_size, length = ops.shape(x_BTD)[:2]
        shape = (batch_size, length, self.num_heads, self.head_dim)
        return ops.transpose(ops.reshape(x_BTD, shape), (0, 2, 1, 3))

    def _attend(self, q_BNTH, k_BNSH, v_BNSH, mask, softmax):
        q_BNTH = q_BNTH / math.sqrt(self.head_dim)
        logits_BNTS = ops.einsum("BNTH,BNSH->BNTS", q_BNTH, k_BNSH)
        logits_BNTS = ops.cast(logits_BNTS, "float32")
        logits_BNTS = ops.where(mask, logits_BNTS, MASKED_LOGIT)
        weights_BNTS = ops.cast(softmax(logits_BNTS), v_BNSH.dtype)
        context_BNTH = ops.einsum("BNTS,BNSH->BNTH", weights_BNTS, v_BNSH)
        batch_size, _, length, _ = ops.shape(context_BNTH)
        return ops.reshape(
            ops.transpose(context_BNTH, (0, 2, 1, 3)),
            (batch_size, length, self.num_heads * self.head_dim),
        )

    def compute_output_shape(self, x_shape):
        return x_shape

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "num_heads": self.num_heads,
                "kernel_initializer": keras.initializers.serialize(
                    self.kernel_initializer
                ),
            }
        )
        return config


def write_slice(cache_BNSH, new_BNTH, position):
    """Writes the keys or values of T consecutive tokens into a cache.

    Portable over Keras backends; on TensorFlow it copies the cache and runs as an
    XLA operation, so generation brings its own writer.

    Args:
        cache_BNSH: the cache.
        new_BNTH: the entries to write.
        position: scalar int, the place of the first of them.

    Returns:
        The new cache `[B, N, S, H]`.
    """
    return ops.slice_update(cache_BNSH, (0, 0, position, 0), new_BNTH)
