"""Learning rates step by step, as DALL·E mini's `train.py` has them."""

import keras
import numpy as np
import pytest

from keras_dalle.optimizers.schedules import WarmUp, WarmUpThenPlateau

PEAK = 1e-4


def rates(schedule, steps):
    return np.array([float(schedule(step)) for step in steps])


def linear(steps):
    return keras.optimizers.schedules.PolynomialDecay(PEAK, steps, end_learning_rate=0)


def exponential(staircase):
    return keras.optimizers.schedules.ExponentialDecay(
        PEAK, decay_steps=10, decay_rate=0.5, staircase=staircase
    )


@pytest.mark.parametrize(
    "schedule, steps, expected",
    [
        # The ramp to a constant ends one step after the warm-up.
        (WarmUp(PEAK, 4), [0, 1, 3, 4, 5, 6], [0, 0.2, 0.6, 0.8, 1, 1]),
        (WarmUp(PEAK, 0), [0, 1, 2], [0, 1, 1]),
        (WarmUp(PEAK, 4, offset=3), [0, 3, 4, 7, 8, 9], [0, 0, 0.2, 0.8, 1, 1]),
        # A decay begins right after the warm-up.
        (WarmUp(linear(10), 4), [3, 4, 5, 9, 14, 99], [0.6, 1, 0.9, 0.5, 0, 0]),
        (WarmUp(linear(10), 4, offset=5), [5, 8, 9, 10], [0, 0.6, 1, 0.9]),
        (
            WarmUp(exponential(staircase=False), 4, offset=1),
            [1, 4, 5, 10, 15, 25],
            [0, 0.6, 1, 0.5**0.5, 0.5, 0.25],
        ),
        (
            WarmUp(exponential(staircase=True), 4, offset=1),
            [4, 5, 14, 15, 24, 25],
            [0.6, 1, 1, 0.5, 0.5, 0.25],
        ),
    ],
)
def test_values_at_the_joints(schedule, steps, expected):
    np.testing.assert_allclose(rates(schedule, steps), PEAK * np.array(expected), 1e-6)


def test_steps_beyond_a_million_are_told_apart():
    warmup = WarmUp(1.0, warmup_steps=1_999_999)
    steps = np.array([1_000_000, 1_000_001, 1_999_999, 2_000_000])
    np.testing.assert_array_equal(rates(warmup, steps), (steps / 2e6).astype("float32"))
    stairs = keras.optimizers.schedules.ExponentialDecay(1.0, 1_000_000, 0.5, True)
    late = WarmUp(stairs, warmup_steps=2**24, offset=1)
    assert rates(late, 2**24 + 1 + np.array([999_999, 1_000_000])).tolist() == [1, 0.5]


@pytest.mark.parametrize("after", [PEAK, linear(10), exponential(staircase=True)])
def test_is_saved_with_its_optimizer(after):
    optimizer = keras.optimizers.AdamW(WarmUp(after, 4, offset=1))
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    schedule = copy.get_config()["learning_rate"]
    assert schedule["class_name"] == "WarmUp"
    steps = range(30)
    loaded = keras.saving.deserialize_keras_object(schedule)
    np.testing.assert_array_equal(
        rates(loaded, steps), rates(WarmUp(after, 4, offset=1), steps)
    )


def test_optimizer_follows_it_step_by_step():
    weight = keras.Variable(0.0)
    optimizer = keras.optimizers.SGD(WarmUp(1.0, 3))
    optimizer.build([weight])
    seen = []
    for _ in range(6):
        before = float(weight)
        optimizer.apply([np.float32(-1.0)])
        seen.append(float(weight) - before)
    np.testing.assert_allclose(seen, [0, 0.25, 0.5, 0.75, 1, 1], atol=1e-6)


@pytest.mark.parametrize("name", ["warmup_steps", "offset"])
def test_negative_steps(name):
    with pytest.raises(ValueError, match=rf"`{name}` \(=-1\) must be at least 0"):
        WarmUp(PEAK, **{"warmup_steps": 1, name: -1})


# === Plateau ===


class Rates(keras.callbacks.Callback):
    """Notes the rate that each step is taken with."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(float(self.model.optimizer.learning_rate))


def test_plateau_lowers_the_rate_after_the_warm_up():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss="mse")
    # Without a gradient the loss never gets better.
    x, y = np.zeros((8, 1), "float32"), np.zeros((8, 1), "float32")
    noted = Rates()
    model.fit(
        x,
        y,
        batch_size=2,
        epochs=5,
        verbose=0,
        callbacks=[
            WarmUpThenPlateau(WarmUp(0.8, warmup_steps=5)),
            keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1),
            noted,
        ],
    )
    ramp = 0.8 * np.arange(6) / 6
    plateau = np.repeat([0.4, 0.2, 0.1], 4)
    np.testing.assert_allclose(noted.seen[:8], [*ramp, 0.8, 0.8], rtol=1e-6)
    np.testing.assert_allclose(noted.seen[8:], plateau, rtol=1e-6)


def test_plateau_wants_a_constant():
    with pytest.raises(ValueError, match="must lead to a constant.*ExponentialDecay"):
        WarmUpThenPlateau(WarmUp(exponential(staircase=False), 3))
