"""A random model of two decoder layers whose logits differ much from token to token."""

import keras

from keras_dalle.models.dalle_bart.dalle_bart_backbone import DalleBartBackbone


def small_backbone(image_vocabulary_size: int, **changes) -> DalleBartBackbone:
    """16 text and 16 image tokens; `changes` are of `DalleBartBackbone`'s arguments."""
    keras.utils.set_random_seed(0)
    arguments = {
        "vocabulary_size": 50,
        "image_vocabulary_size": image_vocabulary_size,
        "num_encoder_layers": 1,
        "num_decoder_layers": 2,
        "num_heads": 4,
        "hidden_dim": 48,
        "encoder_intermediate_dim": 40,
        "decoder_intermediate_dim": 40,
        "max_text_length": 16,
        "image_length": 16,
        "init_std": 0.5,
    }
    return DalleBartBackbone(**{**arguments, **changes})
