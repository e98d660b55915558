"""Hypothesis strategies for models of every variant."""

import keras
import numpy as np
from hypothesis import strategies as st

from keras_dalle.layers.activations import ACTIVATIONS
from keras_dalle.layers.norms import NORM_PLACEMENTS, NORMS
from keras_dalle.layers.variant import FEED_FORWARDS, TransformerVariant
from keras_dalle.models.dalle_bart.dalle_bart_backbone import DalleBartBackbone

TEXT_LENGTH = 6
IMAGE_LENGTH = 9
VOCABULARY_SIZE = 20
CODES = 12

variants = st.builds(
    TransformerVariant,
    norm=st.sampled_from(sorted(NORMS)),
    norm_placement=st.sampled_from(sorted(NORM_PLACEMENTS)),
    scale_all_norms=st.booleans(),
    final_encoder_norm=st.booleans(),
    final_decoder_norm=st.booleans(),
    feed_forward=st.sampled_from(FEED_FORWARDS),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    use_bias=st.booleans(),
    head_scale=st.booleans(),
    cosine_attention_tau=st.sampled_from([None, 0.5]),
    sinkhorn_iterations=st.sampled_from([1, 3]),
    absolute_positions=st.booleans(),
    relative_position_bias=st.booleans(),
    scale_embedding=st.booleans(),
    deepnet_scaling=st.booleans(),
    subln_initialization=st.booleans(),
)


def random_backbone(variant, seed=0):
    """A tiny model of a variant; no weight has its initial value of 0 or 1."""
    backbone = DalleBartBackbone(
        vocabulary_size=VOCABULARY_SIZE,
        image_vocabulary_size=CODES,
        num_encoder_layers=2,
        num_decoder_layers=2,
        num_heads=2,
        num_decoder_heads=4,
        hidden_dim=8,
        encoder_intermediate_dim=12,
        decoder_intermediate_dim=10,
        max_text_length=TEXT_LENGTH,
        image_length=IMAGE_LENGTH,
        variant=variant,
    )
    rng = np.random.default_rng(seed)
    for weight in backbone.weights:
        weight.assign(0.5 * rng.standard_normal(weight.shape))
    keras.utils.set_random_seed(seed)
    return backbone


def random_inputs(lengths, seed=0):
    """A batch whose rows have so many real text tokens."""
    rng = np.random.default_rng(seed)
    rows = len(lengths)
    return {
        "encoder_token_ids": rng.integers(3, VOCABULARY_SIZE, (rows, TEXT_LENGTH)),
        "encoder_padding_mask": np.arange(TEXT_LENGTH) < np.array(lengths)[:, None],
        "decoder_token_ids": rng.integers(0, CODES + 1, (rows, IMAGE_LENGTH)),
    }
