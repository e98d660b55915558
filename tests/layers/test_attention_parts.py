"""The variants of attention, each against plain NumPy."""

import numpy as np
import pytest

from keras_dalle.layers.attention import Attention
from keras_dalle.layers.attention_parts import (
    MASKED_LOGIT,
    CosineSimilarity,
    HeadScale,
    RelativePositionBias,
    Sinkhorn,
)

RNG = np.random.default_rng(0)


def _random(*shape):
    return RNG.standard_normal(shape).astype("float32")


def test_cosine_similarity():
    similarity = CosineSimilarity(tau=0.5)
    q, k = _random(1, 1, 3, 4), _random(1, 1, 5, 4)
    logits = similarity.queries(q).numpy() @ similarity.keys(k).numpy().swapaxes(2, 3)
    lengths = (
        np.linalg.norm(q, axis=-1)[..., None] * np.linalg.norm(k, axis=-1)[..., None, :]
    )
    np.testing.assert_allclose(logits, q @ k.swapaxes(2, 3) / lengths / 0.5, atol=1e-5)


@pytest.mark.parametrize("iterations", [2, 3, 8])
def test_sinkhorn_normalizes_in_turns(iterations):
    weights = Sinkhorn(iterations)(_random(2, 3, 6, 6), np.ones((2, 1, 1, 6), bool))
    axis = -1 if iterations % 2 else -2
    np.testing.assert_allclose(np.sum(weights, axis=axis), 1.0, atol=1e-5)


def test_sinkhorn_gives_masked_keys_no_weight():
    mask = np.arange(6) < 4
    weights = Sinkhorn(4)(_random(1, 1, 6, 6), mask[None, None, None]).numpy()
    assert (weights[..., 4:] == 0).all()
    assert np.isfinite(weights).all()
    assert np.exp(np.float32(MASKED_LOGIT)) == 0


def test_relative_position_bias_of_a_part_is_the_part_of_the_bias():
    layer = RelativePositionBias(2, 5, 4, initializer="random_normal")
    whole = layer(position=0, num_queries=5, num_keys=4).numpy()
    assert whole.shape == (2, 5, 4)
    table = layer.embeddings.numpy().reshape(5, 4, 2)
    np.testing.assert_array_equal(whole, table.transpose(2, 0, 1))
    part = layer(position=2, num_queries=2, num_keys=3)
    np.testing.assert_array_equal(part, whole[:, 2:4, :3])


def test_head_scale():
    layer = HeadScale()
    x = _random(2, 3, 4, 5)
    np.testing.assert_array_equal(layer(x), x)
    layer.scale.assign([1.0, 2.0, 3.0])
    np.testing.assert_allclose(layer(x), x * np.array([1, 2, 3])[:, None, None])


def test_attention_dropout_is_the_same_for_rows_and_heads():
    attention = Attention(num_heads=2, dropout=0.5)
    x = np.broadcast_to(_random(1, 6, 8), (3, 6, 8))
    mask = np.ones(6, bool)
    plain = attention(x, x, mask).numpy()
    dropped = attention(x, x, mask, training=True).numpy()
    assert np.abs(dropped - plain).max() > 0.01
    np.testing.assert_allclose(dropped[0], dropped[1], atol=1e-6)


def test_config_with_everything():
    attention = Attention(
        num_heads=2,
        use_bias=True,
        cosine_tau=0.1,
        sinkhorn_iterations=3,
        head_scale=True,
        position_bias_lengths=(4, 4),
        inside_norm="rmsnorm",
        dropout=0.1,
        branch_initializer="zeros",
    )
    again = Attention.from_config(attention.get_config())
    assert again.get_config() == attention.get_config()
