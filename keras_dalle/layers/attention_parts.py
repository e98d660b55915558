"""The parts that variants of attention choose from."""

# B batch, T queries, S keys, N heads, H head width

import math

import keras
from keras import ops

from keras_dalle.layers.row_stable import row_stable_softmax

# Its exponential beside any real logit is exactly zero in float32, as with the
# original's -inf, but a row without any key stays finite.
MASKED_LOGIT = -1e9


# === Logits of query and key ===


class ScaledDotProduct:
    """Logits `q · k / sqrt(H)` (https://arxiv.org/abs/1706.03762, section 3.2.1)."""

    def queries(self, q_BNTH):
        return q_BNTH / math.sqrt(q_BNTH.shape[-1])

    def keys(self, k_BNSH):
        return k_BNSH


class CosineSimilarity:
    """Logits `cos(q, k) / tau` (Swin V2, https://arxiv.org/abs/2111.09883, eq. 2).

    Args:
        tau: float. A constant, as in DALL·E mini; Swin V2 learns it.
    """

    def __init__(self, tau):
        self.tau = tau

    def queries(self, q_BNTH):
        return self.keys(q_BNTH) / self.tau

    def keys(self, k_BNSH):
        norm_BNS1 = ops.sqrt(ops.sum(ops.square(k_BNSH), axis=-1, keepdims=True))
        return k_BNSH / (norm_BNS1 + 1e-8)


# === Weights of logits ===


def softmax(logits_BNTS, mask, row_stable=False):
    """Attention weights over the keys that `mask` shows."""
    logits_BNTS = ops.where(mask, logits_BNTS, MASKED_LOGIT)
    return (row_stable_softmax if row_stable else ops.softmax)(logits_BNTS)


class Sinkhorn:
    """Weights normalized over keys and queries in turns.

    Sinkformers, https://arxiv.org/abs/2110.11773, algorithm 1, in the logarithm.
    Queries of padding take part, as in the original: with more than one iteration the
    result depends on how much padding there is.

    Args:
        iterations: int. Normalizations; the first is over the keys.
    """

    def __init__(self, iterations):
        self.iterations = iterations

    def __call__(self, logits_BNTS, mask, row_stable=False):
        logits_BNTS = ops.where(mask, logits_BNTS, MASKED_LOGIT)
        for i in range(self.iterations):
            axis = -1 if i % 2 == 0 else -2
            total = ops.logsumexp(logits_BNTS, axis=axis, keepdims=True)
            logits_BNTS = ops.where(mask, logits_BNTS - total, MASKED_LOGIT)
        return ops.exp(logits_BNTS)


# === Layers ===


@keras.saving.register_keras_serializable(package="keras_dalle")
class RelativePositionBias(keras.layers.Layer):
    """A learned bias of the logits for each head, query and key position.

    The table has a row for each query position, as in DALL·E mini, which names it
    after Swin (https://arxiv.org/abs/2103.14030) but shares nothing between equal
    distances.

    Args:
        num_heads: int, N.
        query_length: int. Query positions that have a bias.
        key_length: int. Key positions that have a bias.
        initializer: of the table.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        position: int or scalar tensor. Position of the first query.
        num_queries: int or scalar tensor, T.
        num_keys: int or scalar tensor, S.

    Returns:
        float `[N, T, S]`.
    """

    def __init__(
        self, num_heads, query_length, key_length, initializer="zeros", **kwargs
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.query_length = query_length
        self.key_length = key_length
        self.initializer = keras.initializers.get(initializer)

    def build(self):
        self.embeddings = self.add_weight(
            shape=(self.query_length, self.key_length * self.num_heads),
            initializer=self.initializer,
            name="embeddings",
        )
        self.built = True

    def call(self, position, num_queries, num_keys):
        query_T = ops.cast(position, "int32") + ops.arange(num_queries)
        rows = ops.take(self.embeddings, query_T, axis=0)
        bias_TSN = ops.reshape(rows, (num_queries, self.key_length, self.num_heads))
        return ops.transpose(bias_TSN[:, :num_keys], (2, 0, 1))

    def of_rows(self, positions_RQ, num_keys):
        """The bias of queries at positions of their own, `[R, N, Q, S]`."""
        num_rows, num_queries = ops.shape(positions_RQ)
        rows = ops.take(self.embeddings, positions_RQ, axis=0)
        shape = (num_rows, num_queries, self.key_length, self.num_heads)
        bias_RQSN = ops.reshape(rows, shape)
        return ops.transpose(bias_RQSN[:, :, :num_keys], (0, 3, 1, 2))

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "num_heads": self.num_heads,
                "query_length": self.query_length,
                "key_length": self.key_length,
                "initializer": keras.initializers.serialize(self.initializer),
            }
        )
        return config


@keras.saving.register_keras_serializable(package="keras_dalle")
class HeadScale(keras.layers.Layer):
    """A learned factor for each head (NormFormer, https://arxiv.org/abs/2110.09456).

    Call arguments:
        x_BNTH: `[B, N, T, H]`, the heads' results.
    """

    def build(self, x_shape):
        self.scale = self.add_weight(
            shape=(x_shape[1],), initializer="ones", name="scale"
        )
        self.built = True

    def call(self, x_BNTH):
        return x_BNTH * ops.cast(self.scale, x_BNTH.dtype)[:, None, None]

    def compute_output_shape(self, x_shape):
        return x_shape
