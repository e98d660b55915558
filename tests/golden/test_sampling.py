"""Warpers, guidance and sampled frequencies against the original's."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.generation.sampling import guide, sample, warp
from tests.golden.golden_data import ROOT, load_npz

FOLDER = ROOT / "sampling"
SETTINGS = json.loads((FOLDER / "warpers.json").read_text())
# `top_k=None` means 50 in the original, by a default of transformers.
ORIGINAL_TOP_K = 50


@pytest.fixture(scope="module")
def golden():
    return load_npz(FOLDER / "warpers.npz")


def _warp_in_place(logits, temperature=1.0, top_k=ORIGINAL_TOP_K, top_p=1.0):
    """Our warped candidates, put back in the order of the vocabulary."""
    rows = len(logits)
    values, token_ids = warp(
        tf.constant(logits),
        tf.fill([rows], temperature),
        tf.fill([rows], top_k),
        tf.fill([rows], top_p),
    )
    warped = np.full(logits.shape, -np.inf, "float32")
    np.put_along_axis(warped, token_ids.numpy(), values.numpy(), axis=1)
    return warped


@pytest.mark.parametrize("name", SETTINGS)
def test_warpers(golden, name):
    warped = _warp_in_place(golden["logits"], **SETTINGS[name]["settings"])
    assert np.isfinite(warped).sum(axis=1).tolist() == SETTINGS[name]["kept"]
    np.testing.assert_allclose(warped, golden[f"warped/{name}"], rtol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 3.0, 10.0, 16.0])
def test_guidance(golden, scale):
    conditional = np.where(np.isneginf(golden["logits"]), -1e4, golden["logits"])
    guided = guide(
        tf.constant(conditional.astype("float32")),
        tf.constant(golden["logits_uncond"]),
        tf.fill([len(conditional)], scale),
    )
    expected = golden[f"super_conditioned/{scale}"]
    np.testing.assert_allclose(guided, expected, rtol=1e-6, atol=1e-5)


def test_frequencies(golden):
    frequencies = load_npz(FOLDER / "frequencies.npz")
    warped = _warp_in_place(golden["logits"], temperature=0.9, top_k=12, top_p=0.9)
    np.testing.assert_allclose(warped, frequencies["warped"], rtol=1e-6)

    draws = 4000
    for row, expected in enumerate(frequencies["probabilities"]):
        tokens = sample(
            tf.tile(golden["logits"][row : row + 1], [draws, 1]),
            seed=tf.range(draws, dtype=tf.int64),
            position=tf.constant(7),
            temperature=tf.fill([draws], 0.9),
            top_k=tf.fill([draws], 12),
            top_p=tf.fill([draws], 0.9),
        )
        counts = np.bincount(tokens, minlength=len(expected))
        assert not counts[expected == 0].any()
        kept = expected > 0
        # Pearson's statistic has mean n - 1 and variance 2 (n - 1).
        deviation = counts[kept] - draws * expected[kept]
        statistic = np.sum(deviation**2 / (draws * expected[kept]))
        freedom = kept.sum() - 1
        assert statistic <= freedom + 5 * np.sqrt(2 * freedom)
