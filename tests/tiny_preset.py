"""A whole but untrained model of a few thousand weights, as a preset's folder."""

from pathlib import Path
from typing import Any

import keras

from keras_dalle.models.dalle_bart.dalle_bart_backbone import DalleBartBackbone
from keras_dalle.models.dalle_bart.dalle_bart_text_to_image import DalleBartTextToImage
from keras_dalle.models.dalle_bart.dalle_bart_text_to_image_preprocessor import (
    DalleBartTextToImagePreprocessor,
)
from keras_dalle.models.dalle_bart.dalle_bart_tokenizer import DalleBartTokenizer
from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone

TOKENIZER_DIRECTORY = Path(__file__).parent / "data" / "golden" / "text" / "tokenizer"


def tiny_task(**vqgan_options: Any) -> DalleBartTextToImage:
    """Draws 8×8 pixels from 16 tokens of 32 codes."""
    keras.utils.set_random_seed(0)
    tokenizer = DalleBartTokenizer.from_files(TOKENIZER_DIRECTORY)
    vqgan = VQGANBackbone(
        image_size=8,
        base_channels=32,
        channel_multipliers=(1, 1),
        num_res_blocks=1,
        attention_resolutions=(),
        latent_channels=32,
        embedding_dim=4,
        codebook_size=32,
        **vqgan_options,
    )
    backbone = DalleBartBackbone(
        vocabulary_size=tokenizer.vocabulary_size(),
        image_vocabulary_size=32,
        num_encoder_layers=1,
        num_decoder_layers=1,
        num_heads=2,
        hidden_dim=16,
        encoder_intermediate_dim=16,
        decoder_intermediate_dim=16,
        max_text_length=16,
        image_length=16,
        init_std=0.5,
    )
    preprocessor = DalleBartTextToImagePreprocessor(tokenizer, max_text_length=16)
    return DalleBartTextToImage(backbone, preprocessor, vqgan)
