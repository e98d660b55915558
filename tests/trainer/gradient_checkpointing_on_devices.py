"""Cases of eight devices; `test_gradient_checkpointing.py` runs each in a process."""

import keras
import numpy as np
import pytest

from keras_dalle.distribution.dtensor import distribute
from keras_dalle.distribution.strategies import make_strategy
from keras_dalle.trainer.gradient_checkpointing import checkpoint_gradients
from tests.distribution.dtensor_models import (
    make_examples,
    make_task,
    use_virtual_cpus,
)

use_virtual_cpus()


def trained(strategy="default", mesh=None, checkpointed=True):
    """Losses and weights after `fit`, and the model."""
    with make_strategy(strategy).scope():
        task = make_task()
        if checkpointed:
            checkpoint_gradients(task)
        task.compile(
            optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
            jit_compile=False,
            run_eagerly=not checkpointed,
        )
    placement = mesh and distribute(task, mesh)
    x, y = make_examples(rows=16)
    losses = task.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    if placement:
        placement.gather()
    return losses.history["loss"], task.get_weights(), task


@pytest.mark.parametrize(
    "kwargs",
    [{"mesh": {"batch": 2, "model": 4}}, {"strategy": "mirrored"}],
    ids=["mesh", "mirrored"],
)
def test_equals_one_device(kwargs):
    expected_losses, expected_weights, _ = trained(checkpointed=False)
    losses, weights, task = trained(**kwargs)
    np.testing.assert_allclose(losses, expected_losses, atol=1e-5)
    for ours, expected in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)
    # What a mesh puts around the layers leaves them as they were.
    for layer in (*task.backbone.encoder_layers, *task.backbone.decoder_layers):
        assert layer.call.recomputes
