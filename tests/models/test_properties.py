"""What holds for every variant, on random ones."""

import dataclasses

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from keras_dalle.layers.attention import write_everywhere
from tests.strategies import (
    IMAGE_LENGTH,
    TEXT_LENGTH,
    random_backbone,
    random_inputs,
    variants,
)

lengths = st.lists(st.integers(1, TEXT_LENGTH), min_size=1, max_size=4)
few_examples = settings(
    max_examples=8, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)


def _assert_close(ours, expected):
    # Relative to the largest logit: some variants scale their residuals up.
    scale = max(1.0, float(np.max(np.abs(expected))))
    np.testing.assert_allclose(ours / scale, expected / scale, atol=2e-5)


@few_examples
@given(
    variants,
    lengths,
    st.sets(st.integers(1, IMAGE_LENGTH - 1), max_size=IMAGE_LENGTH - 1),
)
def test_cached_equals_uncached_for_any_split(variant, lengths, cuts):
    backbone, inputs = random_backbone(variant), random_inputs(lengths)
    token_ids = inputs["decoder_token_ids"]
    mask = inputs["encoder_padding_mask"]
    encoded = backbone.encode(inputs["encoder_token_ids"], mask, row_stable=True)
    cross_cache = backbone.cross_attention_cache(encoded)
    cache = backbone.empty_self_attention_cache(len(mask))
    pieces = []
    for part in np.split(np.arange(IMAGE_LENGTH), sorted(cuts)):
        logits, cache = backbone.decode_step(
            token_ids[:, part],
            np.broadcast_to(part, token_ids[:, part].shape),
            cache,
            cross_cache,
            mask,
            write=write_everywhere,
        )
        pieces.append(logits)
    expected = backbone(inputs)["logits"].numpy()
    _assert_close(np.concatenate(pieces, axis=1), expected)


@few_examples
@given(variants, lengths)
def test_padding_changes_nothing(variant, lengths):
    # Sinkhorn's padded queries take part in the original too.
    variant = dataclasses.replace(variant, sinkhorn_iterations=1)
    backbone, inputs = random_backbone(variant), random_inputs(lengths)
    expected = backbone(inputs)["logits"].numpy()

    mask = inputs["encoder_padding_mask"]
    other_ids = np.where(mask, inputs["encoder_token_ids"], 1)
    other = backbone({**inputs, "encoder_token_ids": other_ids})["logits"]
    _assert_close(other.numpy(), expected)

    longest = max(lengths)
    shorter = {
        name: inputs[name][:, :longest]
        for name in ("encoder_token_ids", "encoder_padding_mask")
    }
    _assert_close(backbone({**inputs, **shorter})["logits"].numpy(), expected)


@few_examples
@given(variants, lengths, st.randoms(use_true_random=False))
def test_a_permuted_batch_permutes_its_results(variant, lengths, random):
    backbone, inputs = random_backbone(variant), random_inputs(lengths)
    order = list(range(len(lengths)))
    random.shuffle(order)
    permuted = backbone({name: x[order] for name, x in inputs.items()})["logits"]
    _assert_close(permuted.numpy(), backbone(inputs)["logits"].numpy()[order])


@few_examples
@given(variants, lengths, st.integers(1, IMAGE_LENGTH - 1))
def test_the_decoder_is_causal(variant, lengths, position):
    backbone, inputs = random_backbone(variant), random_inputs(lengths)
    token_ids = inputs["decoder_token_ids"].copy()
    token_ids[:, position:] = (token_ids[:, position:] + 1) % 13
    other = backbone({**inputs, "decoder_token_ids": token_ids})["logits"].numpy()
    expected = backbone(inputs)["logits"].numpy()
    _assert_close(other[:, :position], expected[:, :position])
    assert np.abs(other[:, position:] - expected[:, position:]).max() > 1e-4
