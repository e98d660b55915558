"""Variables that get their values late, or never."""

import keras
import numpy as np
import pytest

from keras_dalle.converters.deferred import (
    deferred_variables,
    set_value,
    values_on_demand,
)


class TracedDense(keras.layers.Dense):
    """Keras finds its output's shape by tracing, where a Dense layer's has a rule."""

    compute_output_shape = keras.layers.Layer.compute_output_shape


class Counting(keras.initializers.Initializer):
    """Zeros; keeps count of how often they were asked for."""

    def __init__(self):
        self.shapes = []

    def __call__(self, shape, dtype=None):
        self.shapes.append(tuple(shape))
        return keras.ops.zeros(shape, dtype)


def _model(initializer="zeros"):
    inputs = keras.Input((2,))
    hidden = TracedDense(3, kernel_initializer=initializer, name="first")(inputs)
    hidden = keras.layers.Dropout(0.5)(hidden)
    return keras.Model(inputs, keras.layers.Dense(1, name="second")(hidden))


KERNEL = np.arange(6.0, dtype="float32").reshape(2, 3)


def test_values_come_at_the_end_of_the_block():
    reads = []

    def read():
        reads.append(1)
        return KERNEL

    initializer = Counting()
    with deferred_variables():
        model = _model(initializer)
        initializer.shapes.clear()  # Keras traces the initializer into a graph
        set_value(model.weights[0], read)
        assert model.weights[0]._value is None
        assert reads == []
    np.testing.assert_array_equal(model.get_weights()[0], KERNEL)
    assert (reads, initializer.shapes) == ([1], [])
    # The others are what their initializers say, and all are ordinary variables.
    assert np.any(model.get_weights()[2])
    expected = np.ones((4, 2)) @ KERNEL @ model.get_weights()[2]
    np.testing.assert_allclose(
        model.predict(np.ones((4, 2)), verbose=0), expected, rtol=1e-5
    )
    model.weights[0].assign(2 * KERNEL)
    np.testing.assert_array_equal(model.get_weights()[0], 2 * KERNEL)


def test_model_can_be_trained_afterwards():
    with deferred_variables():
        model = _model()
        set_value(model.weights[0], lambda: KERNEL)
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    assert np.any(model.get_weights()[0] != KERNEL)


def test_ordinary_variables_are_assigned_at_once():
    model = _model()
    set_value(model.weights[0], lambda: KERNEL)
    np.testing.assert_array_equal(model.get_weights()[0], KERNEL)


def _without_values(read=lambda: KERNEL):
    with values_on_demand(), deferred_variables():
        model = _model()
        set_value(model.weights[0], read)
    assert all(weight._value is None for weight in model.weights)
    return model


def test_model_is_saved_without_ever_having_values(tmp_path):
    _without_values().save_weights(tmp_path / "x.weights.h5")
    loaded = _model()
    loaded.load_weights(tmp_path / "x.weights.h5")
    np.testing.assert_array_equal(loaded.get_weights()[0], KERNEL)


def test_tracing_reads_nothing():
    def read():
        raise AssertionError("read while tracing")

    model = _without_values(read)
    first = model.get_layer("first")
    assert first(model.input).shape == (None, 3)


def test_inner_block_leaves_the_values_to_the_outer_one():
    with deferred_variables():
        with deferred_variables():
            model = _model()
        assert model.weights[0]._value is None
    assert model.weights[0]._value is not None


def test_failed_block_leaves_nothing_for_later_models():
    initializer = Counting()
    with pytest.raises(RuntimeError, match="stop"), deferred_variables():
        _model(initializer)
        initializer.shapes.clear()
        raise RuntimeError("stop")
    later = _model()
    assert later.weights[0]._value is not None
    assert initializer.shapes == []
