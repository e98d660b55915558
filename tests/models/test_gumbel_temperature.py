"""The schedule of the Gumbel quantizer's temperature."""

import numpy as np
import pytest

from keras_dalle.models.vqgan.gumbel_temperature import GumbelTemperature


def test_warm_up_and_half_cosine():
    schedule = GumbelTemperature(
        warmup_steps=4, decay_steps=14, start=0.2, maximum=1.0, minimum=0.1
    )
    temperatures = [float(schedule(step)) for step in (0, 2, 4, 9, 14, 99)]
    np.testing.assert_allclose(temperatures, [0.2, 0.6, 1.0, 0.55, 0.1, 0.1], rtol=1e-5)


def test_defaults_start_at_the_maximum():
    np.testing.assert_allclose(GumbelTemperature()(0), 0.9, rtol=1e-6)


def test_config():
    schedule = GumbelTemperature(warmup_steps=3, decay_steps=9)
    again = GumbelTemperature.from_config(schedule.get_config())
    assert float(again(5)) == float(schedule(5))


@pytest.mark.parametrize("steps", [(-1, 5), (5, 5)])
def test_steps_must_be_in_order(steps):
    with pytest.raises(
        ValueError, match=r"`warmup_steps` \(=-?\d\) must be at least 0"
    ):
        GumbelTemperature(warmup_steps=steps[0], decay_steps=steps[1])
