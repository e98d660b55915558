import keras
import numpy as np

from keras_dalle.models.dalle_bart.token_accuracy import TokenAccuracy


def test_as_keras_has_it():
    rng = np.random.default_rng(0)
    # Few values, so that several logits are the largest.
    logits = rng.integers(0, 3, (2, 50, 6)).astype("float32")
    targets = rng.integers(0, 6, (2, 50))
    weights = rng.integers(0, 2, (2, 50))
    results = []
    for metric in (TokenAccuracy(), keras.metrics.SparseCategoricalAccuracy()):
        metric.update_state(targets, logits, sample_weight=weights)
        results.append(float(metric.result()))
    assert 0 < results[0] < 1
    np.testing.assert_allclose(*results, rtol=1e-6)


def test_value():
    logits = np.array([[[0, 2, 2], [5, 1, 0], [0, 0, 1]]], "float32")
    metric = TokenAccuracy()
    metric.update_state(np.array([[1, 1, 2]]), logits)
    assert abs(float(metric.result()) - 2 / 3) < 1e-6


def test_config_round_trip():
    metric = TokenAccuracy(name="accuracy")
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert isinstance(again, TokenAccuracy) and again.name == "accuracy"
