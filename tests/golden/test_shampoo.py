"""`DistributedShampoo` against the original's update sequences, step by step."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.optimizers.distributed_shampoo import DistributedShampoo
from tests.golden.golden_data import ROOT, load_npz

RUNS = sorted((ROOT / "shampoo").glob("*.npz"))

# What float32 costs the original, of the largest entry of an update: 8e-5, but 4e-4
# where the roots are taken at every step.
TOLERANCE = 1e-4
TOLERANCE_EVERY_STEP = 1e-3


def test_there_are_runs():
    assert RUNS


def _optimizer(settings):
    return DistributedShampoo(
        learning_rate=0.0,
        beta1=settings["beta1"],
        beta2=settings["beta2"],
        block_size=settings["block_size"],
        graft=settings["graft_type"].lower(),
        graft_clip=settings["clip_by_scaled_gradient_norm"],
        diagonal_epsilon=settings["diagonal_epsilon"],
        matrix_epsilon=settings["matrix_epsilon"],
        preconditioning_interval=settings["preconditioning_compute_steps"],
        start_preconditioning_step=settings["start_preconditioning_step"],
        max_preconditioned_dim=settings["skip_preconditioning_dim_size_gt"],
        merged_dim=4096 if settings["best_effort_shape_interpretation"] else None,
        inverse_failure_threshold=settings["inverse_failure_threshold"],
        moving_average_for_momentum=settings["moving_average_for_momentum"],
        nesterov=settings["nesterov"],
        weight_decay=settings["weight_decay"],
        precondition_with_new_roots=not settings.get("shard_optimizer_states", False),
    )


def _gradient(run, name, step):
    """The goldens hold gradients in few bits, without loss."""
    if f"grads_f16/{name}" in run:
        return run[f"grads_f16/{name}"][step].astype("float32")
    return run[f"grads_int8_over_512/{name}"][step].astype("float32") / 512


def _expected(run, name):
    """Step -> golden update."""
    steps = run.get(f"update_steps/{name}", range(len(run["lr"])))
    return dict(zip([int(s) for s in steps], run[f"updates/{name}"], strict=True))


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_updates(path):
    run = load_npz(path)
    settings = json.loads(str(run["settings"]))
    names = [name.partition("/")[2] for name in run if name.startswith("param0/")]
    optimizer = _optimizer(settings)
    variables = [keras.Variable(run[f"param0/{name}"], name=name) for name in names]
    optimizer.build(variables)
    apply = tf.function(lambda gradients: optimizer.apply(gradients, variables))

    expected = {name: _expected(run, name) for name in names}
    largest = {name: np.max(np.abs(run[f"updates/{name}"])) for name in names}
    is_every_step = settings["preconditioning_compute_steps"] == 1
    tolerance = TOLERANCE_EVERY_STEP if is_every_step else TOLERANCE
    for step, learning_rate in enumerate(run["lr"]):
        optimizer.learning_rate.assign(learning_rate)
        if not settings["weight_decay"]:
            # An update does not depend on the weights; from 0 it is read off exactly.
            for variable in variables:
                variable.assign(tf.zeros(variable.shape))
        before = [np.array(variable) for variable in variables]
        apply([_gradient(run, name, step) for name in names])
        for name, variable, old in zip(names, variables, before, strict=True):
            if step in expected[name]:
                error = np.max(np.abs(variable - old - expected[name][step]))
                assert error <= tolerance * largest[name], (name, step)
