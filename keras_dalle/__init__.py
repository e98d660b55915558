"""DALL·E mini and DALL·E Mega for TensorFlow and Keras."""

import importlib

__version__ = "0.1.0"

_MODULES = (
    "converters",
    "data",
    "evaluation",
    "generation",
    "layers",
    "models",
    "prediction_service",
    "recipes",
    "saved_model",
    "text",
    "trainer",
    "utils",
)


def __getattr__(name):
    """Imports a subpackage when it is first used: TensorFlow takes seconds to load."""
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_MODULES])
