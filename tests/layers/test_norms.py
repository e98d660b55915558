"""Constants and table of the norms."""

import numpy as np
import pytest

from keras_dalle.layers.norms import NORM_PLACEMENTS, NORMS, make_norm


def test_epsilon_is_the_original_one():
    # Variance 1e-5 beside epsilon 1e-5: any other epsilon shows in full.
    x = np.array([[1e-5**0.5, -(1e-5**0.5)]], "float32")
    np.testing.assert_allclose(
        make_norm("scaled")(x), [[0.5**0.5, -(0.5**0.5)]], rtol=1e-5
    )


@pytest.mark.parametrize("norm", NORMS)
def test_epsilon_of_every_norm(norm):
    x = np.array([[1e-5**0.5, -(1e-5**0.5)]], "float32")
    expected = [[0.5**0.5, -(0.5**0.5)]]
    np.testing.assert_allclose(make_norm("scaled", norm)(x), expected, rtol=1e-5)


def test_rms_norm_keeps_the_mean():
    x = np.array([[1.0, 2.0, 3.0, 4.0]], "float32")
    expected = x / np.sqrt(np.mean(x**2) + 1e-5)
    np.testing.assert_allclose(make_norm("scaled", "rmsnorm")(x), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "norm", "scale_all", "weights"),
    [
        ("scaled", "layernorm", False, ["gamma", "beta"]),
        ("unscaled", "layernorm", False, ["beta"]),
        ("unscaled", "layernorm", True, ["gamma", "beta"]),
        ("scaled", "rmsnorm", False, ["gamma"]),
        ("unscaled", "rmsnorm", False, []),
        ("unscaled", "rmsnorm", True, ["gamma"]),
        (None, "layernorm", True, []),
    ],
)
def test_weights(kind, norm, scale_all, weights):
    layer = make_norm(kind, norm, scale_all)
    layer.build((None, None, 4))
    assert [weight.name for weight in layer.weights] == weights


def test_normformer():
    placement = NORM_PLACEMENTS["normformer"]
    assert placement.after_attention == "scaled"
    assert placement.before_encoder_attention == "unscaled"
    assert placement.before_decoder_attention == "unscaled"
    assert placement.before_feed_forward == "unscaled"
    assert placement.inside_feed_forward == "unscaled"


def test_swin_has_a_norm_after_every_sixth_layer_but_the_last():
    after = NORM_PLACEMENTS["swinv2"].after_layer
    assert [i for i in range(12) if after(i, 12)] == [5]
    assert [i for i in range(13) if after(i, 13)] == [5, 11]
