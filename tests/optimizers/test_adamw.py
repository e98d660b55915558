"""The fused AdamW takes Keras's steps."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.optimizers.adamw import AdamW

SHAPES = ((5, 3), (4,))


def weights_after_steps(optimizer, steps=4, undecayed=()):
    rng = np.random.default_rng(0)
    variables = [keras.Variable(rng.normal(size=s).astype("float32")) for s in SHAPES]
    optimizer.exclude_from_weight_decay([variables[i] for i in undecayed])

    @tf.function
    def step(gradients):
        optimizer.apply(gradients, variables)

    optimizer.build(variables)
    for _ in range(steps):
        step([tf.constant(rng.normal(size=s).astype("float32")) for s in SHAPES])
    return [variable.numpy() for variable in variables + optimizer.variables]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"weight_decay": 0.3, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3},
        {"amsgrad": True},
        {"clipnorm": 0.1, "use_ema": True},
        {"gradient_accumulation_steps": 2},
    ],
)
def test_weights_and_slots_are_those_of_keras(arguments):
    ours = weights_after_steps(AdamW(0.1, **arguments))
    expected = weights_after_steps(keras.optimizers.AdamW(0.1, **arguments))
    for a, b in zip(ours, expected, strict=True):
        # 1 - beta_2 is 0.001 in Keras and 5e-5 more in the operation, in float32.
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_excluded_variables_do_not_decay():
    ours = weights_after_steps(AdamW(0.1, weight_decay=0.3), undecayed=[1])
    none = weights_after_steps(AdamW(0.1, weight_decay=0.0))
    np.testing.assert_array_equal(ours[1], none[1])
    assert np.abs(ours[0] - none[0]).max() > 1e-2


def test_slices_of_a_gradient_are_summed():
    table = keras.Variable(np.ones((3, 2), "float32"))
    dense = keras.Variable(np.ones((3, 2), "float32"))
    slices = tf.IndexedSlices(tf.ones((2, 2)), tf.constant([1, 1]), tf.constant([3, 2]))
    for variable, gradient in ((table, slices), (dense, tf.convert_to_tensor(slices))):
        optimizer = AdamW(0.1)
        optimizer.build([variable])
        optimizer.apply([gradient], [variable])
        optimizer.apply([gradient], [variable])
    np.testing.assert_array_equal(table.numpy(), dense.numpy())


def test_config_round_trip():
    config = keras.optimizers.serialize(AdamW(0.1, weight_decay=0.3))
    again = keras.optimizers.deserialize(config)
    assert type(again) is AdamW and again.weight_decay == 0.3
