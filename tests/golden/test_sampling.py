"""Warpers, guidance and sampled frequencies against the original's."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.generation.end_token import EndToken
from keras_dalle.generation.sampling import guide, sample, warp
from tests.golden.golden_data import ROOT, check_found, load_npz

FOLDERS = sorted(path.parent for path in ROOT.glob("**/warpers.json"))
# `top_k=None` means 50 in the original, by a default of transformers.
ORIGINAL_TOP_K = 50


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def folder(request):
    return request.param


@pytest.fixture(scope="module")
def golden(folder):
    return load_npz(folder / "warpers.npz")


def test_there_are_cases():
    check_found(FOLDERS)


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


def test_warpers(folder, golden):
    settings = json.loads((folder / "warpers.json").read_text(encoding="utf-8"))
    assert {f"warped/{name}" for name in settings} == _names(golden, "warped/")
    for name, setting in settings.items():
        warped = _warp_in_place(golden["logits"], **setting["settings"])
        kept = np.isfinite(warped).sum(axis=1).tolist()
        assert kept == setting["kept"], name
        np.testing.assert_allclose(warped, golden[f"warped/{name}"], rtol=1e-6)


def _names(golden, prefix):
    names = {name for name in golden if name.startswith(prefix)}
    assert names
    return names


def test_guidance(golden):
    conditional = np.where(np.isneginf(golden["logits"]), -1e4, golden["logits"])
    for name in _names(golden, "super_conditioned/"):
        guided = guide(
            tf.constant(conditional.astype("float32")),
            tf.constant(golden["logits_uncond"]),
            tf.fill([len(conditional)], float(name.partition("/")[2])),
        )
        np.testing.assert_allclose(guided, golden[name], rtol=1e-6, atol=1e-5)


def test_minimum_length(golden):
    logits = golden["logits"]
    vocabulary_size = logits.shape[1]
    # The original's end token is the id behind the codes, or one that is no id.
    end_tokens = {"inside": vocabulary_size - 1, "outside": vocabulary_size}
    for name in _names(golden, "min_length"):
        match = re.fullmatch(r"min_length(\d+)/eos_(\w+)/cur_len(\d+)", name)
        end_token = EndToken(end_tokens[match[2]], 0, min_length=int(match[1]))
        positions_BW = tf.fill([len(logits), 1], int(match[3]) - 1)
        ours = end_token.forbid(tf.constant(logits)[:, None], positions_BW)[:, 0]
        np.testing.assert_array_equal(ours, golden[name], err_msg=name)


def test_frequencies(folder):
    """Draws from the logits that the original's warpers left."""
    frequencies = load_npz(folder / "frequencies.npz")
    draws = 4000
    for row, expected in enumerate(frequencies["probabilities"]):
        tokens = sample(
            tf.tile(frequencies["warped"][row : row + 1], [draws, 1]),
            seed=tf.range(draws, dtype=tf.int64),
            position=tf.constant(7),
            temperature=tf.ones(draws),
            top_k=tf.zeros(draws, tf.int32),
            top_p=tf.ones(draws),
        )
        counts = np.bincount(tokens, minlength=len(expected))
        assert not counts[expected == 0].any()
        kept = expected > 0
        # Pearson's statistic has mean n - 1 and variance 2 (n - 1).
        deviation = counts[kept] - draws * expected[kept]
        statistic = np.sum(deviation**2 / (draws * expected[kept]))
        freedom = kept.sum() - 1
        assert statistic <= freedom + 5 * np.sqrt(2 * freedom)
