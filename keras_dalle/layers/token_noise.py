"""Noise on the decoder's inputs, so that it learns to live with its own mistakes."""

# B batch, T image tokens

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_dalle")
class TokenNoise(keras.layers.Layer):
    """Replaces some tokens of a training batch by random ones.

    In training every token before the one to predict is true; in generation each was
    drawn by the model. Noise closes that gap as scheduled sampling does (Bengio et al.,
    2015), without a second pass, and makes the model look at the caption where the
    tokens before say enough in training.

    Args:
        rate: float. Each row's share of replaced tokens is uniform in [0, rate].
        vocabulary_size: int. Random tokens are below it.
        seed: int or `None`. Seed of the choice.

    Call arguments:
        tokens: int [B, T].
    """

    def __init__(self, rate, vocabulary_size, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0.0 <= rate <= 1.0:
            raise ValueError(f"`rate` (={rate}) must be at least 0 and at most 1.")
        self.rate = rate
        self.vocabulary_size = vocabulary_size
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, tokens, training=False):
        if not training or self.rate == 0.0:
            return tokens
        shape = ops.shape(tokens)
        seed = self.seed_generator
        rate_B1 = keras.random.uniform((shape[0], 1), maxval=self.rate, seed=seed)
        replaced_BT = keras.random.uniform(shape, seed=seed) < rate_B1
        random_BT = keras.random.randint(
            shape, 0, self.vocabulary_size, dtype=tokens.dtype, seed=seed
        )
        return ops.where(replaced_BT, random_BT, tokens)

    def compute_output_shape(self, tokens_shape):
        return tokens_shape

    def get_config(self):
        config = super().get_config()
        config.update({"rate": self.rate, "vocabulary_size": self.vocabulary_size})
        return config
