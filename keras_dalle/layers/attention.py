"""Multi-head attention, and the cache of keys and values for decoding."""

# B batch, T queries, S keys, D width, N heads, H head width, R decoder rows, W tokens
# of a row, Q queries of a row, M matrix rows, L cache length

import keras
from keras import ops

from keras_dalle.layers.attention_parts import (
    CosineSimilarity,
    HeadScale,
    RelativePositionBias,
    ScaledDotProduct,
    Sinkhorn,
    softmax,
)
from keras_dalle.layers.norms import SCALED, make_norm
from keras_dalle.layers.row_stable import Dense


@keras.saving.register_keras_serializable(package="keras_dalle")
class Attention(keras.layers.Layer):
    """Multi-head attention; logits and weights in float32 or wider.

    Args:
        num_heads: number of heads, N.
        use_bias: whether the four dense layers have biases.
        cosine_tau: constant of cosine attention; `None` for scaled dot products.
        sinkhorn_iterations: 1 for softmax, see `Sinkhorn`.
        head_scale: whether each head has a learned factor.
        position_bias_lengths: pair of ints, query and key positions of a
            `RelativePositionBias`; `None` for none.
        inside_norm: a key of `NORMS` for a norm between heads and output; `None` for
            none.
        dropout: rate of the dropout on the weights, the same for all heads and rows
            of the batch.
        kernel_initializer: initializer of the query and key kernels `[D, D]` and of
            the position bias.
        branch_initializer: initializer of the value and output kernels `[D, D]`;
            `None` for the same.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        x_BTD: queries are made from it.
        memory_BSD: keys and values are made from it.
        mask: bool, `True` where a query sees a key, broadcast to `[B, N, T, S]`.
        row_stable: multiply each batch entry on its own, see `Dense`.
    """

    def __init__(
        self,
        num_heads,
        use_bias=False,
        cosine_tau=None,
        sinkhorn_iterations=1,
        head_scale=False,
        position_bias_lengths=None,
        inside_norm=None,
        dropout=0.0,
        kernel_initializer="glorot_uniform",
        branch_initializer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.use_bias = use_bias
        self.cosine_tau = cosine_tau
        self.sinkhorn_iterations = sinkhorn_iterations
        self.head_scale = head_scale
        self.position_bias_lengths = position_bias_lengths
        self.inside_norm = inside_norm
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.branch_initializer = keras.initializers.get(
            branch_initializer or self.kernel_initializer
        )
        self._similarity = (
            ScaledDotProduct() if cosine_tau is None else CosineSimilarity(cosine_tau)
        )
        self._weights = (
            softmax if sinkhorn_iterations == 1 else Sinkhorn(sinkhorn_iterations)
        )

    def build(self, x_shape):
        width = x_shape[-1]
        if width % self.num_heads:
            raise ValueError(
                f"The width (={width}) must be divisible by `num_heads` "
                f"(={self.num_heads})."
            )
        self.head_dim = width // self.num_heads
        self.query = self._dense(width, self.kernel_initializer, "query")
        self.key = self._dense(width, self.kernel_initializer, "key")
        self.value = self._dense(width, self.branch_initializer, "value")
        self.attention_output = self._dense(
            width, self.branch_initializer, "attention_output"
        )
        self._build_optional_parts(width)
        self.built = True

    def _dense(self, width, initializer, name):
        dense = Dense(
            width,
            use_bias=self.use_bias,
            kernel_initializer=initializer.clone(),
            dtype=self.dtype_policy,
            name=name,
        )
        dense.build((None, None, width))
        return dense

    def _build_optional_parts(self, width):
        policy = self.dtype_policy
        self.position_bias = None
        if self.position_bias_lengths is not None:
            query_length, key_length = self.position_bias_lengths
            self.position_bias = RelativePositionBias(
                self.num_heads,
                query_length,
                key_length,
                initializer=self.kernel_initializer.clone(),
                dtype=policy,
                name="position_bias",
            )
            self.position_bias.build()
        head_factors = HeadScale if self.head_scale else keras.layers.Identity
        self.head_factors = head_factors(dtype=policy, name="head_factors")
        self.head_factors.build((None, self.num_heads, None, self.head_dim))
        kind = None if self.inside_norm is None else SCALED
        self.heads_norm = make_norm(
            kind, self.inside_norm, dtype=policy, name="heads_norm"
        )
        self.heads_norm.build((None, None, width))
        self.weights_dropout = keras.layers.Dropout(
            self.dropout,
            noise_shape=(1, 1, None, None),
            dtype=policy,
            name="weights_dropout",
        )

    def call(self, x_BTD, memory_BSD, mask, row_stable=False, training=None):
        q_BNTH = self._queries(self.query(x_BTD, row_stable=row_stable))
        keys_values = self.keys_values(memory_BSD, row_stable=row_stable)
        context_BTD = self._attend(
            q_BNTH, keys_values, mask, row_stable=row_stable, training=training
        )
        return self.attention_output(context_BTD, row_stable=row_stable)

    def keys_values(self, memory_BSD, row_stable=False):
        """Keys and values `[B, N, S, H]` of a memory `[B, S, D]`."""
        return (
            self._keys(self.key(memory_BSD, row_stable=row_stable)),
            self._split_heads(self.value(memory_BSD, row_stable=row_stable)),
        )

    def keys_values_of_rows(self, x_MD, rows):
        """Keys and values `[R, W, N, H]` of states in a `RowMatrix`."""
        return (
            self._similarity.keys(self._heads(rows.split(self.key(x_MD)))),
            self._heads(rows.split(self.value(x_MD))),
        )

    def attend_rows(self, x_MD, rows, keys_values, mask_bias_R1QS, positions_RQ):
        """Attention of states in a `RowMatrix` to given keys and values.

        Args:
            x_MD: the states.
            rows: the `RowMatrix` that laid them out.
            keys_values: pair of `[R, N, S, H]`.
            mask_bias_R1QS: float32, 0 where a query sees a key and very negative
                elsewhere.
            positions_RQ: int, the queries' positions.

        Returns:
            `[M, D]`.
        """
        k_RNSH, v_RNSH = keys_values
        q_RQNH = self._heads(rows.split_queries(self.query(x_MD)))
        q_RQNH = self._similarity.queries(q_RQNH)
        logits_RNQS = ops.einsum("RQNH,RNSH->RNQS", q_RQNH, k_RNSH)
        wide = keras.backend.result_type(logits_RNQS.dtype, "float32")
        logits_RNQS = ops.cast(logits_RNQS, wide)
        if self.position_bias is not None:
            num_keys = ops.shape(k_RNSH)[2]
            bias_RNQS = self.position_bias.of_rows(positions_RQ, num_keys)
            logits_RNQS = logits_RNQS + ops.cast(bias_RNQS, wide)
        weights_RNQS = ops.softmax(logits_RNQS + ops.cast(mask_bias_R1QS, wide))
        weights_RNQS = self.head_factors(ops.cast(weights_RNQS, v_RNSH.dtype))
        context_RQNH = ops.einsum("RNQS,RNSH->RQNH", weights_RNQS, v_RNSH)
        num_rows, num_queries = ops.shape(context_RQNH)[:2]
        width = self.num_heads * self.head_dim
        context_RQD = ops.reshape(context_RQNH, (num_rows, num_queries, width))
        return self.attention_output(self.heads_norm(rows.join(context_RQD)))

    def _heads(self, x_RWD):
        """`[R, W, D]` -> `[R, W, N, H]`, not transposed as by `_split_heads`."""
        shape = (*ops.shape(x_RWD)[:2], self.num_heads, self.head_dim)
        return ops.reshape(x_RWD, shape)

    def _queries(self, x_BTD):
        return self._similarity.queries(self._split_heads(x_BTD))

    def _keys(self, x_BSD):
        return self._similarity.keys(self._split_heads(x_BSD))

    def _split_heads(self, x_BTD):
        batch_size, length = ops.shape(x_BTD)[:2]
        shape = (batch_size, length, self.num_heads, self.head_dim)
        return ops.transpose(ops.reshape(x_BTD, shape), (0, 2, 1, 3))

    def _attend(
        self, q_BNTH, keys_values, mask, position=0, row_stable=False, training=None
    ):
        k_BNSH, v_BNSH = keys_values
        logits_BNTS = ops.einsum("BNTH,BNSH->BNTS", q_BNTH, k_BNSH)
        # Not in half precision, but float64 stays what it is.
        wide = keras.backend.result_type(logits_BNTS.dtype, "float32")
        logits_BNTS = ops.cast(logits_BNTS, wide)
        if self.position_bias is not None:
            num_queries, num_keys = ops.shape(q_BNTH)[2], ops.shape(k_BNSH)[2]
            bias_NTS = self.position_bias(
                position=position, num_queries=num_queries, num_keys=num_keys
            )
            logits_BNTS = logits_BNTS + ops.cast(bias_NTS, wide)
        weights_BNTS = self._weights(logits_BNTS, mask, row_stable=row_stable)
        weights_BNTS = ops.cast(weights_BNTS, v_BNSH.dtype)
        weights_BNTS = self.weights_dropout(weights_BNTS, training=training)
        context_BNTH = ops.einsum("BNTS,BNSH->BNTH", weights_BNTS, v_BNSH)
        return self.heads_norm(self._merge_heads(self.head_factors(context_BNTH)))

    def _merge_heads(self, x_BNTH):
        batch_size, _, length, _ = ops.shape(x_BNTH)
        return ops.reshape(
            ops.transpose(x_BNTH, (0, 2, 1, 3)),
            (batch_size, length, self.num_heads * self.head_dim),
        )

    def compute_output_shape(self, x_shape):
        return x_shape

    def get_config(self):
        config = super().get_config()
        serialize = keras.initializers.serialize
        config.update(
            {
                "num_heads": self.num_heads,
                "use_bias": self.use_bias,
                "cosine_tau": self.cosine_tau,
                "sinkhorn_iterations": self.sinkhorn_iterations,
                "head_scale": self.head_scale,
                "position_bias_lengths": self.position_bias_lengths,
                "inside_norm": self.inside_norm,
                "dropout": self.dropout,
                "kernel_initializer": serialize(self.kernel_initializer),
                "branch_initializer": serialize(self.branch_initializer),
            }
        )
        return config


def write_everywhere(cache_RNLH, new_RWNH, positions_RW):
    """Writes the keys or values of W tokens a row into a cache.

    Portable over Keras backends and XLA; it makes a new cache, so generation on
    TensorFlow brings its own writer.

    Args:
        cache_RNLH: the cache.
        new_RWNH: the entries to write.
        positions_RW: int, their places, different within a row.

    Returns:
        The new cache `[R, N, L, H]`.
    """
    length = ops.shape(cache_RNLH)[2]
    place_RWL = positions_RW[:, :, None] == ops.arange(length)[None, None, :]
    source_RL = ops.argmax(ops.cast(place_RWL, "int32"), axis=1)
    candidates_RLNH = ops.take_along_axis(new_RWNH, source_RL[:, :, None, None], axis=1)
    candidates_RNLH = ops.transpose(candidates_RLNH, (0, 2, 1, 3))
    is_new_RL = ops.any(place_RWL, axis=1)
    return ops.where(is_new_RL[:, None, :, None], candidates_RNLH, cache_RNLH)
