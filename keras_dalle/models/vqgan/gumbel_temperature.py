"""How the temperature of a Gumbel quantizer falls in training."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_dalle")
class GumbelTemperature(keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up, then half a cosine down to the minimum.

    The formula is that of taming-transformers' `LambdaWarmUpCosineScheduler`, the
    defaults those of its published GumbelVQ.

    Args:
        warmup_steps: int. Steps from `start` to `maximum`.
        decay_steps: int. The step at which `minimum` is reached; it counts the
            warm-up too.
        start: float. Temperature at step 0, if there is a warm-up.
        maximum: float. Temperature after the warm-up.
        minimum: float. Temperature from `decay_steps` on.

    Call arguments:
        step: int scalar.

    Returns:
        Temperature, float scalar.
    """

    def __init__(
        self,
        warmup_steps=0,
        decay_steps=1_000_001,
        start=0.9,
        maximum=0.9,
        minimum=1e-6,
    ):
        if not 0 <= warmup_steps < decay_steps:
            raise ValueError(
                f"`warmup_steps` (={warmup_steps}) must be at least 0 and less than "
                f"`decay_steps` (={decay_steps})."
            )
        self.warmup_steps = warmup_steps
        self.decay_steps = decay_steps
        self.start = start
        self.maximum = maximum
        self.minimum = minimum

    def __call__(self, step):
        step = ops.cast(step, keras.config.floatx())
        warmed = step / max(self.warmup_steps, 1)
        warming_up = self.start + (self.maximum - self.start) * warmed
        decayed = (step - self.warmup_steps) / (self.decay_steps - self.warmup_steps)
        half_cosine = 0.5 * (1.0 + ops.cos(math.pi * ops.minimum(decayed, 1.0)))
        falling = self.minimum + (self.maximum - self.minimum) * half_cosine
        return ops.where(step < self.warmup_steps, warming_up, falling)

    def get_config(self):
        return {
            "warmup_steps": self.warmup_steps,
            "decay_steps": self.decay_steps,
            "start": self.start,
            "maximum": self.maximum,
            "minimum": self.minimum,
        }
