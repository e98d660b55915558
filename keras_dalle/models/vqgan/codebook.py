"""The vectors that image tokens stand for."""

# C codes, E width of a code

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_dalle")
class Codebook(keras.layers.Layer):
    """A vector for each image token.

    The quantizers of this folder are codebooks that also choose the tokens: called on
    the encoder's vectors [B, H, W, E], they return quantized vectors [B, H, W,
    embedding_dim], the tokens int32 [B, H, W] and a loss for each picture, [B]; and
    their `to_indices` returns the tokens alone.

    Args:
        codebook_size: int. Number of codes.
        embedding_dim: int. Width of a code.

    Call arguments:
        indices: int [...], each in [0, codebook_size).

    Returns:
        Codes [..., embedding_dim].
    """

    def __init__(self, codebook_size, embedding_dim, **kwargs):
        super().__init__(**kwargs)
        self.codebook_size = codebook_size
        self.embedding_dim = embedding_dim

    def build(self, input_shape):
        self.codebook = self.add_weight(
            shape=(self.codebook_size, self.embedding_dim),
            initializer=self.codebook_initializer(),
            name="codebook",
        )

    def codebook_initializer(self):
        """taming-transformers draws the codes of its nearest-entry quantizer so."""
        bound = 1.0 / self.codebook_size
        return keras.initializers.RandomUniform(-bound, bound)

    def call(self, indices):
        return self.lookup(indices)

    def lookup(self, indices):
        """Codes [..., embedding_dim] of integer `indices` [...]."""
        codebook_CE = ops.convert_to_tensor(self.codebook, dtype=self.compute_dtype)
        return ops.take(codebook_CE, indices, axis=0)

    def get_config(self):
        return {
            **super().get_config(),
            "codebook_size": self.codebook_size,
            "embedding_dim": self.embedding_dim,
        }
