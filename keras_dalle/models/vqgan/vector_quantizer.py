"""The codebook of a VQGAN: nearest entry, with a straight-through gradient."""

# B batch, H height, W width, E width of a code, C codes, N positions (= B*H*W)

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_dalle")
class VectorQuantizer(keras.layers.Layer):
    """Replaces each vector of a feature map by its nearest codebook entry.

    The gradient passes straight through to the encoder. The loss has the two terms
    of van den Oord et al. (2017), "Neural Discrete Representation Learning",
    equation 3: the codebook moves to the encoder's vectors, and, weighted by
    `commitment_weight`, the encoder's vectors move to the codebook.

    Args:
        codebook_size: int. Number of codes.
        embedding_dim: int. Width of a code.
        commitment_weight: float. Weight of the commitment term (beta).

    Call arguments:
        vectors: float [B, H, W, embedding_dim].

    Returns:
        A tuple: quantized vectors [B, H, W, embedding_dim], code indices int32
        [B, H, W], and the loss of each picture, float [B].
    """

    def __init__(self, codebook_size, embedding_dim, commitment_weight=0.25, **kwargs):
        super().__init__(**kwargs)
        self.codebook_size = codebook_size
        self.embedding_dim = embedding_dim
        self.commitment_weight = commitment_weight

    def build(self, input_shape):
        bound = 1.0 / self.codebook_size
        self.codebook = self.add_weight(
            shape=(self.codebook_size, self.embedding_dim),
            initializer=keras.initializers.RandomUniform(-bound, bound),
            name="codebook",
        )

    def call(self, z_BHWE):
        indices_BHW = self.nearest(z_BHWE)
        codes_BHWE = self.lookup(indices_BHW)
        frozen = ops.stop_gradient
        codebook_loss = ops.square(codes_BHWE - frozen(z_BHWE))
        commitment_loss = ops.square(frozen(codes_BHWE) - z_BHWE)
        loss_BHWE = codebook_loss + self.commitment_weight * commitment_loss
        straight_through_BHWE = z_BHWE + frozen(codes_BHWE - z_BHWE)
        loss_B = ops.mean(loss_BHWE, axis=(1, 2, 3))
        return straight_through_BHWE, indices_BHW, loss_B

    def nearest(self, z_BHWE):
        """Indices int32 [B, H, W] of the entries nearest to `z` [B, H, W, E]."""
        codebook_CE = ops.cast(self.codebook, "float32")
        z_NE = ops.reshape(ops.cast(z_BHWE, "float32"), (-1, self.embedding_dim))
        # |z|^2 is the same for every code, so it does not change the order.
        distances_NC = ops.sum(ops.square(codebook_CE), axis=-1) - 2.0 * ops.matmul(
            z_NE, ops.transpose(codebook_CE)
        )
        indices_N = ops.cast(ops.argmin(distances_NC, axis=-1), "int32")
        return ops.reshape(indices_N, ops.shape(z_BHWE)[:-1])

    def lookup(self, indices):
        """Codes [..., embedding_dim] of integer `indices` [...]."""
        codebook_CE = ops.convert_to_tensor(self.codebook, dtype=self.compute_dtype)
        return ops.take(codebook_CE, indices, axis=0)

    def compute_output_spec(self, z_BHWE):
        shape = z_BHWE.shape
        return (
            keras.KerasTensor(shape, dtype=self.compute_dtype),
            keras.KerasTensor(shape[:-1], dtype="int32"),
            keras.KerasTensor(shape[:1], dtype=self.compute_dtype),
        )

    def get_config(self):
        return {
            **super().get_config(),
            "codebook_size": self.codebook_size,
            "embedding_dim": self.embedding_dim,
            "commitment_weight": self.commitment_weight,
        }
