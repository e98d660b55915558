"""What test_processes.py runs in two processes of four devices.

By hand: `python -m training.launch --processes 2 --devices 4 \
    -m tests.distribution.process_training FOLDER`
"""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_dalle.data.training_input import training_batches
from keras_dalle.distribution.dtensor import distribute
from keras_dalle.distribution.layout_rules import Rule
from keras_dalle.distribution.process_rows import local_batches, process_shard
from keras_dalle.distribution.processes import check_agreement, is_first_process, join
from keras_dalle.trainer.trainer import TrainingRun, train
from tests.distribution.dtensor_cases import (
    assert_steps_are_equal,
    compiled,
    losses_of_steps,
)


def steps_are_equal(mesh_shape, optimizer):
    """The first process compares with one device; the others only take part."""
    if is_first_process():
        assert_steps_are_equal(mesh_shape, optimizer)
    else:
        task = compiled(optimizer)
        placement = distribute(task, mesh_shape)
        losses_of_steps(task, shard=process_shard(placement.mesh))
        placement.gather()
    print(f"{optimizer} on {mesh_shape} is equal.", flush=True)


def toy_run(epochs, mesh_shape=None):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8)])
    model.compile("adam", "mse", jit_compile=False)
    kwargs, mesh = {}, None
    if mesh_shape:
        rules = (Rule("kernel$", (None, "model")), Rule("bias$", ("model",)))
        placement = distribute(model, mesh_shape, rules, ())
        mesh, kwargs = placement.mesh, {"in_one_place": placement.gathered}
    rng = np.random.default_rng(0)
    examples = rng.normal(size=(2, 24, 8)).astype("float32")

    def training_data(step):
        batches = training_batches(
            tuple(examples), batch_size=8, seed=0, first_step=step
        )
        return local_batches(batches, mesh) if mesh else batches

    return TrainingRun(
        model=model,
        training_data=training_data,
        epochs=epochs,
        steps_per_epoch=3,
        save=lambda folder: (folder / "saved").touch(),
        **kwargs,
    )


def files_are_written_once(folder):
    plain = toy_run(epochs=2)
    train(plain, folder / f"process_{int(not is_first_process())}")
    train(toy_run(1, {"batch": 2, "model": 4}), folder / "run")
    resumed = toy_run(2, {"batch": 4, "model": 2})
    train(resumed, folder / "run")
    with resumed.in_one_place():
        for ours, theirs in zip(
            resumed.model.get_weights(), plain.model.get_weights(), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


def mistakes_name_their_remedy():
    with pytest.raises(ValueError, match=r"must be equal. Received.*\[True, False\]"):
        check_agreement("Such values must be equal.", is_first_process())
    with pytest.raises(ValueError, match="must have all devices of the 2 processes"):
        distribute(compiled(), {"batch": 2, "model": 2})


if __name__ == "__main__":
    with join(timeout=120):
        mistakes_name_their_remedy()
        files_are_written_once(Path(sys.argv[1]))
        # In the first, both processes hold parts of one model.
        steps_are_equal({"batch": 1, "model": 8}, "sgd")
        steps_are_equal({"batch": 4, "model": 2}, "adamw")
        steps_are_equal({"batch": 2, "model": 4}, "adafactor")
        steps_are_equal({"batch": 2, "model": 4}, "shampoo")
