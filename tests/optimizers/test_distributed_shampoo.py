"""`DistributedShampoo` as a Keras optimizer: configuration, fit, failures of roots."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.optimizers.distributed_shampoo import DistributedShampoo

RNG = np.random.default_rng(0)
ARGUMENTS = {
    "learning_rate": 1e-2,
    "block_size": 4,
    "preconditioning_interval": 1,
    "start_preconditioning_step": 1,
    "groups": ("encoder",),
    "weight_decay": 0.01,
}


def _variables():
    return [
        keras.Variable(
            RNG.standard_normal((6, 5)), dtype="float32", name="encoder_kernel"
        ),
        keras.Variable(
            RNG.standard_normal((3, 9)), dtype="float32", name="decoder_kernel"
        ),
        keras.Variable(RNG.standard_normal(7), dtype="float32", name="bias"),
    ]


def test_config_round_trip():
    optimizer = DistributedShampoo(**ARGUMENTS, graft="adagrad", nesterov=True)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(again, DistributedShampoo)
    assert again.get_config() == optimizer.get_config()


def test_unknown_graft():
    with pytest.raises(ValueError, match="`graft` must be one of .*'rmsprop'.*'adam'"):
        DistributedShampoo(graft="adam")


def test_groups_are_padded_apart():
    optimizer = DistributedShampoo(block_size=16, merged_dim=None, groups=("encoder",))
    optimizer.build(_variables())
    shapes = {tuple(matrices.shape) for matrices in optimizer._statistics}
    assert shapes == {(1, 2, 6, 6), (1, 2, 9, 9), (1, 1, 9, 9)}


def test_variables_of_a_shape_are_one_stack():
    optimizer = DistributedShampoo(block_size=4, merged_dim=None)
    optimizer.build([keras.Variable(np.zeros((6, 4), "float32")) for _ in range(3)])
    assert [tuple(m.shape) for m in optimizer._statistics] == [(3, 4, 4, 4)]


def test_a_variable_without_a_gradient_stays():
    variables = _variables()
    optimizer = DistributedShampoo(**ARGUMENTS)
    optimizer.build(variables)
    before = [variable.numpy() for variable in variables]
    gradient = tf.constant(RNG.standard_normal((3, 9)), tf.float32)
    optimizer.apply([None, gradient, None], variables)
    changed = [
        not np.array_equal(variable, old)
        for variable, old in zip(variables, before, strict=True)
    ]
    assert changed == [False, True, False]


def test_large_dimensions_are_not_preconditioned():
    optimizer = DistributedShampoo(max_preconditioned_dim=5)
    optimizer.build([keras.Variable(np.zeros((6, 2), "float32"))])
    assert optimizer._statistics == []


# === Settings that no golden run changes ===

SETTINGS = {
    "beta1": 0.9,
    "beta2": 0.9,
    "diagonal_epsilon": 1e-10,
    "matrix_epsilon": 1e-2,
    "moving_average_for_momentum": True,
    "nesterov": False,
}


def _updates_by_formula(gradients, settings):
    """What Shampoo adds up to for one matrix, by eigenvalues in float64."""
    beta1, beta2 = settings["beta1"], settings["beta2"]
    weight = 1 - beta1 if settings["moving_average_for_momentum"] else 1
    weight2 = 1 if beta2 == 1 else 1 - beta2
    left, right = (settings["matrix_epsilon"] * np.eye(5) for _ in range(2))
    diagonal, momentum, total = np.zeros((3, 5, 5))
    for gradient in gradients:
        left = beta2 * left + weight2 * gradient @ gradient.T
        right = beta2 * right + weight2 * gradient.T @ gradient
        roots = [_root(side, settings["matrix_epsilon"]) for side in (left, right)]
        normalized = gradient / np.linalg.norm(gradient)
        diagonal = beta2 * diagonal + weight2 * normalized**2
        graft = normalized / (np.sqrt(diagonal) + settings["diagonal_epsilon"])
        update = roots[0] @ gradient @ roots[1]
        update *= np.linalg.norm(graft) / np.linalg.norm(update)
        momentum = beta1 * momentum + weight * update
        step = beta1 * momentum + weight * update if settings["nesterov"] else momentum
        total -= step
    return total


def _root(matrix, epsilon):
    values, vectors = np.linalg.eigh(matrix)
    return vectors * (values + epsilon * values[-1]) ** -0.25 @ vectors.T


@pytest.mark.parametrize(
    "changes",
    [
        {"beta1": 0.5},
        {"beta2": 1.0},
        {"diagonal_epsilon": 0.1},
        {"matrix_epsilon": 0.5},
        {"moving_average_for_momentum": False},
        {"moving_average_for_momentum": False, "nesterov": True},
    ],
    ids=str,
)
def test_settings(changes):
    gradients = np.random.default_rng(0).standard_normal((6, 5, 5))
    settings = {**SETTINGS, **changes}
    optimizer = DistributedShampoo(
        1.0,
        merged_dim=None,
        preconditioning_interval=1,
        start_preconditioning_step=0,
        precondition_with_new_roots=True,
        **settings,
    )
    variables = [keras.Variable(np.zeros((5, 5)), dtype="float32")]
    optimizer.build(variables)
    step = tf.function(lambda gradient: optimizer.apply([gradient], variables))
    for gradient in gradients:
        step(tf.constant(gradient, tf.float32))
    expected = _updates_by_formula(gradients, settings)
    largest = np.max(np.abs(expected))
    np.testing.assert_allclose(variables[0], expected, atol=1e-4 * largest)
    unchanged = _updates_by_formula(gradients, SETTINGS)
    assert np.max(np.abs(expected - unchanged)) > 0.01 * largest


@pytest.mark.parametrize("threshold, is_used", [(1e-9, False), (0.1, True)])
def test_roots_above_the_failure_threshold_are_not_used(threshold, is_used):
    variables = [keras.Variable(np.ones((4, 4), "float32"))]
    optimizer = DistributedShampoo(
        **{**ARGUMENTS, "groups": ()},
        merged_dim=None,
        inverse_failure_threshold=threshold,
    )
    optimizer.build(variables)
    optimizer.apply([tf.constant(RNG.standard_normal((4, 4)), tf.float32)], variables)
    change = np.max(np.abs(np.array(optimizer._preconditioners[0]) - np.eye(4)))
    assert (change > 0.1) == is_used


def test_fit_lowers_the_loss():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)])
    optimizer = DistributedShampoo(**{**ARGUMENTS, "weight_decay": 0.0})
    model.compile(optimizer, "mse", jit_compile=False)
    x = RNG.standard_normal((64, 5)).astype("float32")
    y = np.sum(x**2, axis=1, keepdims=True)
    losses = model.fit(x, y, epochs=15, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]


def test_a_root_that_fails_leaves_the_former_one():
    (variable,) = variables = [keras.Variable(np.ones((4, 4), "float32"))]
    optimizer = DistributedShampoo(**{**ARGUMENTS, "groups": ()}, merged_dim=None)
    optimizer.build(variables)
    optimizer.apply([tf.constant(RNG.standard_normal((4, 4)), tf.float32)], variables)
    (preconditioners,) = optimizer._preconditioners
    before = np.array(preconditioners)
    optimizer.apply([tf.fill((4, 4), float("nan"))], variables)
    np.testing.assert_array_equal(preconditioners, before)
    assert np.abs(before - np.eye(4)).max() > 0.1


def test_accumulated_gradients_are_one_step():
    gradients = [tf.constant(RNG.standard_normal((6, 5)), tf.float32) for _ in range(4)]
    results = []
    for steps in (1, 2):
        variables = [keras.Variable(np.ones((6, 5), "float32"))]
        optimizer = DistributedShampoo(
            **ARGUMENTS, gradient_accumulation_steps=None if steps == 1 else steps
        )
        optimizer.build(variables)
        means = [(gradients[0] + gradients[1]) / 2, (gradients[2] + gradients[3]) / 2]
        for gradient in means if steps == 1 else gradients:
            optimizer.apply([gradient], variables)
        results.append(variables[0].numpy())
    np.testing.assert_allclose(*results, atol=1e-6)
