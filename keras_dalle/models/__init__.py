"""Models, with KerasHub's conventions.

On another Keras backend than TensorFlow there are the backbones alone: prompts, and the
drawing of pictures, are TensorFlow's graph.

`import keras_dalle.models` makes all that a `.keras` file may hold known to
`keras.models.load_model`: models, their parts, optimizers, schedules and metrics.
"""

import keras as _keras

from keras_dalle.models.dalle_bart import dalle_bart_presets as _dalle_bart_presets
from keras_dalle.models.dalle_bart.dalle_bart_backbone import DalleBartBackbone
from keras_dalle.models.vqgan import vqgan_presets as _vqgan_presets
from keras_dalle.models.vqgan.discriminator import PatchDiscriminator
from keras_dalle.models.vqgan.gumbel_temperature import GumbelTemperature
from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone
from keras_dalle.models.vqgan.vqgan_trainer import VQGANTrainer
from keras_dalle.optimizers.distributed_shampoo import DistributedShampoo
from keras_dalle.optimizers.schedules import WarmUp

if _keras.backend.backend() == "tensorflow":
    from keras_dalle.models.dalle_bart.dalle_bart_text_to_image import (
        DalleBartTextToImage,
    )
    from keras_dalle.models.dalle_bart.dalle_bart_text_to_image_preprocessor import (
        DalleBartTextToImagePreprocessor,
    )
    from keras_dalle.models.dalle_bart.dalle_bart_tokenizer import DalleBartTokenizer

__all__ = [
    "DalleBartBackbone",
    "DalleBartTextToImage",
    "DalleBartTextToImagePreprocessor",
    "DalleBartTokenizer",
    "VQGANBackbone",
]

# Other classes that a `.keras` file may hold. Keras knows a class after its import.
_REGISTERED = (
    DistributedShampoo,
    GumbelTemperature,
    PatchDiscriminator,
    VQGANTrainer,
    WarmUp,
)

_dalle_bart_presets.register()
_vqgan_presets.register()


def __getattr__(name):
    """Says of what another backend lacks why it is not there."""
    if name in __all__:
        # `from … import` replaces the text of an AttributeError by its own.
        raise ImportError(
            f"{name} needs Keras on TensorFlow. Received: the backend "
            f"{_keras.backend.backend()}. Set KERAS_BACKEND=tensorflow, or use the "
            "backbones."
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
