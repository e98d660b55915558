"""The codebook of a GumbelVQ: a distribution over the codes at each position."""

# B batch, H height, W width, E width of a code, C codes

import keras
from keras import ops

from keras_dalle.layers.vqgan_blocks import conv1x1, upcast_half
from keras_dalle.models.vqgan.codebook import Codebook


@keras.saving.register_keras_serializable(package="keras_dalle")
class GumbelQuantizer(Codebook):
    """Projects each vector of a feature map to logits over the codes.

    In training a code is drawn by Gumbel-softmax. At inference it is the likeliest
    one: taming-transformers adds Gumbel noise there too, so that its tokens are a
    draw; `gumbel_softmax` with `hard` gives that where it is wanted.

    The loss is `kl_weight` times the Kullback-Leibler divergence of the distribution
    from the uniform one, as in taming-transformers' `GumbelQuantize`.

    Args:
        codebook_size: int. Number of codes.
        embedding_dim: int. Width of a code.
        kl_weight: float. Weight of the divergence.
        temperature: float. Of the Gumbel-softmax in training; see
            `GumbelTemperature`.
        straight_through: bool. Whether training decodes one code (with the gradient
            of the mixture) or the mixture of all.
        seed: int. Seed of the noise.

    Call arguments:
        vectors: float [B, H, W, E].
        temperature: float scalar that replaces the constructor's, e.g. at each step.

    Returns:
        As of `VectorQuantizer`.
    """

    def __init__(
        self,
        codebook_size,
        embedding_dim,
        kl_weight=1e-8,
        temperature=1.0,
        straight_through=True,
        seed=None,
        **kwargs,
    ):
        super().__init__(codebook_size, embedding_dim, **kwargs)
        self.kl_weight = kl_weight
        self.temperature = temperature
        self.straight_through = straight_through
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.projection = conv1x1(codebook_size, self.dtype_policy, "projection")

    def build(self, input_shape):
        self.projection.build(input_shape)
        super().build(input_shape)

    def codebook_initializer(self):
        return keras.initializers.RandomNormal(stddev=1.0)

    def call(self, z_BHWE, training=None, temperature=None):
        logits_BHWC = self.logits(z_BHWE)
        loss_B = self.kl_weight * self.divergence(logits_BHWC)
        if not training:
            indices_BHW = _argmax(logits_BHWC)
            return self.lookup(indices_BHW), indices_BHW, loss_B
        weights_BHWC = gumbel_softmax(
            logits_BHWC,
            self._noise(logits_BHWC),
            self.temperature if temperature is None else temperature,
            hard=self.straight_through,
        )
        return self.mix(weights_BHWC), _argmax(weights_BHWC), loss_B

    def logits(self, z_BHWE):
        """Logits float [B, H, W, C] of the codes, for `z` [B, H, W, E]."""
        return upcast_half(self.projection(ops.cast(z_BHWE, self.compute_dtype)))

    def to_indices(self, z_BHWE):
        """Indices int32 [B, H, W] of the likeliest codes, for `z` [B, H, W, E]."""
        return _argmax(self.logits(z_BHWE))

    def mix(self, weights_BHWC):
        """Sums of codes [B, H, W, embedding_dim] by `weights` [B, H, W, C]."""
        codebook_CE = ops.cast(self.codebook, weights_BHWC.dtype)
        mixed_BHWE = ops.einsum("BHWC,CE->BHWE", weights_BHWC, codebook_CE)
        return ops.cast(mixed_BHWE, self.compute_dtype)

    def divergence(self, logits_BHWC):
        """Divergence from the uniform distribution, the mean of each picture, [B]."""
        probabilities_BHWC = ops.softmax(logits_BHWC, axis=-1)
        log_ratio_BHWC = ops.log(probabilities_BHWC * self.codebook_size + 1e-10)
        divergence_BHW = ops.sum(probabilities_BHWC * log_ratio_BHWC, axis=-1)
        return ops.mean(divergence_BHW, axis=(1, 2))

    def _noise(self, logits_BHWC):
        margin = keras.config.epsilon()  # log(0) is not finite
        uniform_BHWC = keras.random.uniform(
            ops.shape(logits_BHWC),
            minval=margin,
            maxval=1.0 - margin,
            dtype=logits_BHWC.dtype,
            seed=self.seed_generator,
        )
        return -ops.log(-ops.log(uniform_BHWC))

    def get_config(self):
        return {
            **super().get_config(),
            "kl_weight": self.kl_weight,
            "temperature": self.temperature,
            "straight_through": self.straight_through,
            "seed": self.seed,
        }


def gumbel_softmax(logits, noise, temperature, hard):
    """A relaxed draw from a categorical distribution.

    Jang et al. (2017), "Categorical Reparameterization with Gumbel-Softmax",
    equation 2.

    Args:
        logits: float [..., C].
        noise: float [..., C], Gumbel(0, 1): -log(-log(uniform)).
        temperature: float. The lower, the nearer to one code.
        hard: bool. Whether the value is 1 for one code and 0 for the others, with
            the gradient of the relaxed draw (straight-through).

    Returns:
        Weights of the codes, float [..., C].
    """
    soft = ops.softmax((logits + noise) / temperature, axis=-1)
    if not hard:
        return soft
    one_hot = ops.one_hot(_argmax(soft), soft.shape[-1], dtype=soft.dtype)
    return one_hot + (soft - ops.stop_gradient(soft))


def _argmax(scores):
    return ops.cast(ops.argmax(scores, axis=-1), "int32")
