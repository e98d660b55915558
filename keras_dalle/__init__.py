"""DALL·E mini and DALL·E Mega for TensorFlow and Keras."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_dalle import models as models
    from keras_dalle import text as text
    from keras_dalle.models import (
        DalleBartBackbone,
        DalleBartTextToImage,
        DalleBartTextToImagePreprocessor,
        DalleBartTokenizer,
        VQGANBackbone,
    )

__version__ = "0.1.0"

__all__ = [
    "DalleBartBackbone",
    "DalleBartTextToImage",
    "DalleBartTextToImagePreprocessor",
    "DalleBartTokenizer",
    "VQGANBackbone",
    "__version__",
]

_MODULES = (
    "converters",
    "data",
    "distribution",
    "evaluation",
    "generation",
    "layers",
    "models",
    "optimizers",
    "prediction_service",
    "recipes",
    "saved_model",
    "text",
    "trainer",
    "utils",
)


def __getattr__(name):
    """Imports a public name at its first use: TensorFlow takes seconds to load."""
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in __all__:
        return getattr(importlib.import_module(f"{__name__}.models"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__, *_MODULES})
