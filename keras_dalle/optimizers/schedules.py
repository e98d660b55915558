"""Learning rates: the warm-up in front of any Keras schedule.

After the warm-up comes a constant, or a schedule of Keras: `PolynomialDecay` is the
linear decay of DALL·E mini's training, `ExponentialDecay` its exponential one, with or
without a staircase.
"""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_dalle")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up from 0, then a constant or another schedule.

    Step for step as in DALL·E mini's `train.py`: after `warmup_steps` steps a schedule
    begins with its step 0. A constant goes on along the ramp, whose slope is
    `1 / (warmup_steps + 1)` of it, and is reached one step later; so the very first
    step of a constant has the rate 0, even without a warm-up.

    Args:
        learning_rate: float, or the `LearningRateSchedule` that follows.
        warmup_steps: int. Length of the warm-up: Keras counts batches, of which
            gradient accumulation takes several for an update.
        offset: int. Steps before the warm-up, at the rate 0.

    Call arguments:
        step: int scalar, the number of steps so far. Exact up to 2**24.

    Raises:
        ValueError: a negative number of steps.

    Example:
    ```python
    decay = keras.optimizers.schedules.ExponentialDecay(
        1e-4, decay_steps=1000, decay_rate=0.9, staircase=True
    )
    optimizer = keras.optimizers.AdamW(WarmUp(decay, warmup_steps=10_000))
    ```
    """

    def __init__(self, learning_rate, warmup_steps, offset=0):
        for name, steps in (("warmup_steps", warmup_steps), ("offset", offset)):
            if steps < 0:
                raise ValueError(f"`{name}` (={steps}) must be at least 0.")
        if isinstance(learning_rate, dict):
            learning_rate = keras.saving.deserialize_keras_object(learning_rate)
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.offset = offset

    @property
    def is_constant(self):
        """Whether no schedule follows."""
        return not callable(self.learning_rate)

    @property
    def peak(self):
        """The rate that the warm-up leads to."""
        return self.learning_rate if self.is_constant else self.learning_rate(0)

    def __call__(self, step):
        # In integers: float32 loses steps beyond 2**24.
        step = ops.maximum(ops.cast(step, "int64") - self.offset, 0)
        share = ops.cast(step, "float32") / (self.warmup_steps + 1)
        ramp = self.peak * ops.minimum(share, 1.0)
        if self.is_constant:
            return ramp
        later = self.learning_rate(ops.maximum(step - self.warmup_steps, 0))
        return ops.where(step < self.warmup_steps, ramp, later)

    def get_config(self):
        learning_rate = self.learning_rate
        if not self.is_constant:
            learning_rate = keras.saving.serialize_keras_object(learning_rate)
        return {
            "learning_rate": learning_rate,
            "warmup_steps": self.warmup_steps,
            "offset": self.offset,
        }


class WarmUpThenPlateau(keras.callbacks.Callback):
    """Warms up to a constant that `keras.callbacks.ReduceLROnPlateau` may lower.

    An optimizer that holds a schedule takes no rate from a callback. So this one gives
    it the rate of each step of the warm-up, and none thereafter. A checkpoint of the
    optimizer holds the lowered rate.

    Args:
        warmup: a `WarmUp` to a constant, whose steps are updates here.

    Raises:
        ValueError: a schedule follows the warm-up.

    Example:
    ```python
    model.compile(optimizer=keras.optimizers.AdamW(1e-4))
    model.fit(
        dataset,
        callbacks=[
            WarmUpThenPlateau(WarmUp(1e-4, warmup_steps=2000)),
            keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=3),
        ],
    )
    ```
    """

    def __init__(self, warmup: WarmUp):
        super().__init__()
        if not warmup.is_constant:
            raise ValueError(
                "`warmup` must lead to a constant, which a plateau then lowers. "
                f"Received: {type(warmup.learning_rate).__name__}. Without a plateau, "
                "give it to the optimizer."
            )
        self.warmup = warmup
        self._last_step = warmup.offset + warmup.warmup_steps + 1

    def on_train_batch_begin(self, batch, logs=None):
        step = int(self.model.optimizer.iterations)
        if step <= self._last_step:
            self.model.optimizer.learning_rate = float(self.warmup(step))
