"""Models, with KerasHub's conventions."""

from keras_dalle.models.dalle_bart import dalle_bart_presets as _dalle_bart_presets
from keras_dalle.models.dalle_bart.dalle_bart_backbone import DalleBartBackbone
from keras_dalle.models.dalle_bart.dalle_bart_text_to_image import DalleBartTextToImage
from keras_dalle.models.dalle_bart.dalle_bart_text_to_image_preprocessor import (
    DalleBartTextToImagePreprocessor,
)
from keras_dalle.models.dalle_bart.dalle_bart_tokenizer import DalleBartTokenizer
from keras_dalle.models.vqgan import vqgan_presets as _vqgan_presets
from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone

__all__ = [
    "DalleBartBackbone",
    "DalleBartTextToImage",
    "DalleBartTextToImagePreprocessor",
    "DalleBartTokenizer",
    "VQGANBackbone",
]

_dalle_bart_presets.register()
_vqgan_presets.register()
