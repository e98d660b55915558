"""Blank-caption dropout, which teaches a model to draw without a prompt."""

# B batch, S text tokens

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_dalle")
class BlankCaptionDropout(keras.layers.Layer):
    """Replaces some captions of a training batch by the blank caption.

    Guidance compares a prompt with the blank one, so a model must have seen both (Ho
    and Salimans, 2022, "Classifier-Free Diffusion Guidance").

    Args:
        rate: float. Share of the captions that are blanked while training.
        start_token_id, end_token_id, pad_token_id: ints. The blank caption is
            `<s> </s>` and padding.
        seed: int or `None`. Seed of the choice.

    Call arguments:
        token_ids, padding_mask: int [B, S].

    Returns:
        Both, with some rows replaced.
    """

    def __init__(
        self,
        rate,
        start_token_id=0,
        end_token_id=2,
        pad_token_id=1,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"`rate` (={rate}) must be at least 0 and below 1.")
        self.rate = rate
        self.start_token_id = start_token_id
        self.end_token_id = end_token_id
        self.pad_token_id = pad_token_id
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, token_ids, padding_mask, training=False):
        if not training or self.rate == 0.0:
            return token_ids, padding_mask
        batch_size, length = ops.shape(token_ids)
        draws_B1 = keras.random.uniform((batch_size, 1), seed=self.seed_generator)
        blank_B1 = draws_B1 < self.rate
        index_1S = ops.arange(length)[None, :]
        blank_ids_1S = ops.where(
            index_1S == 0,
            self.start_token_id,
            ops.where(index_1S == 1, self.end_token_id, self.pad_token_id),
        )
        blank_ids_1S = ops.cast(blank_ids_1S, token_ids.dtype)
        blank_mask_1S = ops.cast(index_1S < 2, padding_mask.dtype)
        return (
            ops.where(blank_B1, blank_ids_1S, token_ids),
            ops.where(blank_B1, blank_mask_1S, padding_mask),
        )

    def compute_output_spec(self, token_ids, padding_mask, training=False):
        return (
            keras.KerasTensor(token_ids.shape, dtype=token_ids.dtype),
            keras.KerasTensor(padding_mask.shape, dtype=padding_mask.dtype),
        )

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "rate": self.rate,
                "start_token_id": self.start_token_id,
                "end_token_id": self.end_token_id,
                "pad_token_id": self.pad_token_id,
            }
        )
        return config
