"""Training under Orbit equals `fit`: `make test-orbit`, in its own environment."""

from contextlib import nullcontext

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.distribution.dtensor import distribute
from keras_dalle.distribution.strategies import make_strategy
from keras_dalle.trainer.orbit_trainer import make_controller
from keras_dalle.trainer.trainer import TrainingRun
from tests.distribution.mirrored_training import (
    tiny_batches,
    tiny_task,
    use_two_cpus,
)

use_two_cpus()

EPOCHS, STEPS = 3, 2
OPTIMIZERS = {
    "adamw": lambda: keras.optimizers.AdamW(1e-2),
    "accumulation": lambda: keras.optimizers.SGD(
        0.1, momentum=0.9, gradient_accumulation_steps=2
    ),
}


def make_run(optimizer="adamw", strategy="default", steps_per_execution=1, mesh=None):
    with make_strategy(strategy).scope():
        keras.utils.set_random_seed(0)
        task = tiny_task()
        task.compile(
            optimizer=OPTIMIZERS[optimizer](),
            steps_per_execution=steps_per_execution,
            jit_compile=False,
        )
    placement = None
    if mesh:
        placement = distribute(task, mesh, pad_to_multiple_of=mesh["model"])
    return TrainingRun(
        model=task,
        training_data=lambda step: tiny_batches(rows=48).repeat().skip(step),
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
        save=lambda directory: None,
        in_one_place=placement.gathered if placement else nullcontext,
    )


def trained_by_fit(run):
    history = run.model.fit(
        run.training_data(0), epochs=EPOCHS, steps_per_epoch=STEPS, verbose=0
    )
    return history.history


def assert_equal_weights(model, expected, atol=1e-6):
    for ours, theirs in zip(
        [*model.variables, *model.optimizer.variables],
        [*expected.variables, *expected.optimizer.variables],
        strict=True,
    ):
        np.testing.assert_allclose(
            ours.numpy(), theirs.numpy(), atol=atol, err_msg=theirs.path
        )


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"optimizer": "accumulation"},
        {"steps_per_execution": 2},
        {"strategy": "mirrored"},
    ],
    ids=str,
)
def test_equals_fit(kwargs, tmp_path):
    expected = make_run(**kwargs)
    history = trained_by_fit(expected)
    run = make_run(**kwargs)
    controller = make_controller(run, tmp_path)
    logs = []
    controller.train_actions = (logs.append,)
    controller.train(steps=EPOCHS * STEPS)
    assert set(history) == {"loss", "perplexity", "token_accuracy"}
    for name, values in history.items():
        ours = [float(log[name]) for log in logs]
        np.testing.assert_allclose(ours, values, rtol=1e-6, err_msg=name)
    assert_equal_weights(run.model, expected.model)


def test_checkpoint_restores(tmp_path):
    whole = make_run()
    trained_by_fit(whole)
    first = make_run()
    make_controller(first, tmp_path).train(steps=2 * STEPS)
    second = make_run()
    second.model.backbone.image_head.kernel.assign_add(
        tf.ones_like(second.model.backbone.image_head.kernel)
    )
    controller = make_controller(second, tmp_path)
    assert int(controller.global_step) == 2 * STEPS
    assert_equal_weights(second.model, first.model)
    controller.train(steps=EPOCHS * STEPS)
    assert_equal_weights(second.model, whole.model)


@pytest.mark.parametrize(
    "optimizer, mesh",
    [
        ("adamw", {"batch": 1, "model": 2}),
        ("accumulation", {"batch": 2, "model": 1}),
    ],
)
def test_mesh_equals_fit_in_one_place(optimizer, mesh, tmp_path):
    expected = make_run(optimizer)
    history = trained_by_fit(expected)
    first = make_run(optimizer, mesh={"batch": 2, "model": 1})
    make_controller(first, tmp_path).train(steps=STEPS)
    # Goes on from the checkpoint, which is of another mesh with AdamW.
    run = make_run(optimizer, mesh=mesh)
    controller = make_controller(run, tmp_path)
    assert int(controller.global_step) == STEPS
    logs = []
    controller.train_actions = (logs.append,)
    controller.train(steps=EPOCHS * STEPS)
    for name, values in history.items():
        ours = [float(log[name]) for log in logs]
        np.testing.assert_allclose(ours, values[1:], rtol=1e-5, err_msg=name)
    with run.in_one_place():
        assert_equal_weights(run.model, expected.model, atol=1e-5)


def test_loop_of_incomplete_executions(tmp_path):
    controller = make_controller(make_run(steps_per_execution=4), tmp_path)
    with pytest.raises(ValueError, match=r"\(=2\) must be divisible by .* \(=4\)"):
        controller.train(steps=4)
