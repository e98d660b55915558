"""The codebook of a VQGAN: nearest entry, with a straight-through gradient."""

# B batch, H height, W width, E width of a code, C codes, N positions (= B*H*W)

import keras
from keras import ops

from keras_dalle.layers.vqgan_blocks import upcast_half
from keras_dalle.models.vqgan.codebook import Codebook


@keras.saving.register_keras_serializable(package="keras_dalle")
class VectorQuantizer(Codebook):
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
        super().__init__(codebook_size, embedding_dim, **kwargs)
        self.commitment_weight = commitment_weight

    def call(self, z_BHWE):
        indices_BHW = self.to_indices(z_BHWE)
        codes_BHWE = self.lookup(indices_BHW)
        frozen = ops.stop_gradient
        codebook_loss = ops.square(codes_BHWE - frozen(z_BHWE))
        commitment_loss = ops.square(frozen(codes_BHWE) - z_BHWE)
        loss_BHWE = codebook_loss + self.commitment_weight * commitment_loss
        straight_through_BHWE = z_BHWE + frozen(codes_BHWE - z_BHWE)
        loss_B = ops.mean(loss_BHWE, axis=(1, 2, 3))
        return straight_through_BHWE, indices_BHW, loss_B

    def to_indices(self, z_BHWE):
        """Indices int32 [B, H, W] of the entries nearest to `z` [B, H, W, E]."""
        z_NE = upcast_half(ops.reshape(z_BHWE, (-1, self.embedding_dim)))
        codebook_CE = ops.cast(self.codebook, z_NE.dtype)
        # |z|^2 is the same for every code, so it does not change the order.
        distances_NC = ops.sum(ops.square(codebook_CE), axis=-1) - 2.0 * ops.matmul(
            z_NE, ops.transpose(codebook_CE)
        )
        indices_N = ops.cast(ops.argmin(distances_NC, axis=-1), "int32")
        return ops.reshape(indices_N, (-1, *z_BHWE.shape[1:-1]))

    def get_config(self):
        return {**super().get_config(), "commitment_weight": self.commitment_weight}
