"""Constants and table of the norms."""

import numpy as np
import pytest

from keras_dalle.layers.norms import NORM_PLACEMENTS, make_norm, norm_placement


def test_epsilon_is_the_original_one():
    # Variance 1e-5 beside epsilon 1e-5: any other epsilon shows in full.
    x = np.array([[1e-5**0.5, -(1e-5**0.5)]], "float32")
    np.testing.assert_allclose(
        make_norm("scaled")(x), [[0.5**0.5, -(0.5**0.5)]], rtol=1e-5
    )


@pytest.mark.parametrize(("kind", "count"), [("scaled", 2), ("unscaled", 1), (None, 0)])
def test_weights(kind, count):
    norm = make_norm(kind)
    norm.build((None, None, 4))
    assert len(norm.weights) == count


def test_normformer():
    placement = NORM_PLACEMENTS["normformer"]
    assert placement.after_attention == "scaled"
    assert placement.before_attention == "unscaled"
    assert placement.before_feed_forward == "unscaled"
    assert placement.inside_feed_forward == "unscaled"


def test_unknown_placement():
    with pytest.raises(ValueError, match="must be one of .*normformer.*'sideways'"):
        norm_placement("sideways")
