"""The JSON files of a preset: objects of keras_dalle's classes, and nothing else.

Keras would look for any class that such a file names. If something does not fit, it
raises with the whole file in the traceback.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import keras

from keras_dalle.models.foreign_config import (
    Rule,
    check_arguments,
    check_dalle_bart_arguments,
    check_vqgan_arguments,
)
from keras_dalle.utils.foreign_values import described, shortened

BACKBONE, VQGAN = "DalleBartBackbone", "VQGANBackbone"
TASK, PREPROCESSOR = "DalleBartTextToImage", "DalleBartTextToImagePreprocessor"
TOKENIZER = "DalleBartTokenizer"

# The fields of every Keras object in a file, beside the arguments of its class.
_COMMON = {
    "name": Rule("a text", lambda x: isinstance(x, str)),
    "trainable": Rule("true or false", lambda x: isinstance(x, bool)),
    "config_file": Rule(
        "the name of a .json file",
        lambda x: isinstance(x, str) and PurePath(x).name == x and x.endswith(".json"),
    ),
}
_RATE = Rule("a number from 0 to 1", lambda x: type(x) in (int, float) and 0 <= x <= 1)
_TASK_RULES = {
    "blank_caption_rate": _RATE,
    "image_token_noise": _RATE,
    "generation_defaults": Rule(
        "an object of numbers, or null",
        lambda x: (
            x is None
            or isinstance(x, dict)
            and all(type(value) in (int, float) for value in x.values())
        ),
    ),
}
_PREPROCESSOR_RULES = {
    "max_text_length": Rule(
        "an integer from 2 to 65536", lambda x: type(x) is int and 2 <= x <= 2**16
    ),
    "normalize_text": Rule("true or false", lambda x: isinstance(x, bool)),
}
_SERIALIZED = {"module", "class_name", "config", "registered_name"}


@dataclass(frozen=True)
class Serialized:
    """The content of a file.

    Attributes:
        kind: the name of our class.
        arguments: its constructor's arguments, or None for a subclass.
    """

    kind: str
    arguments: Mapping[str, Any] | None


def check_serialized(
    content: Any, expected: tuple[str, ...], source: str
) -> Serialized:
    """Raises unless a file's content describes an object of ours, as Keras writes it.

    Args:
        content: the parsed file, or a part of one.
        expected: the names of our classes that are allowed, also as base classes.
        source: the file, and the place in it, for the error's text.

    Returns:
        The name among `expected`, and the arguments with the class's defaults. A
        subclass may have others, so it gives no arguments.

    Raises:
        ValueError: it is not; the error names the fault.
    """
    rule = f"{source} must hold a Keras object of the class {' or '.join(expected)}"
    if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
        raise ValueError(f"{rule}. Received: {shortened(content)}. {_REMEDY}")
    unknown = sorted(set(content) - _SERIALIZED)
    if unknown:
        raise ValueError(
            f"{source} must have the fields {', '.join(sorted(_SERIALIZED))} alone. "
            f"Received: {shortened(unknown)}. {_REMEDY}"
        )
    registered = content.get("registered_name")
    cls = (
        keras.saving.get_registered_object(registered)
        if isinstance(registered, str)
        else None
    )
    ancestors = [each.__name__ for each in getattr(cls, "__mro__", ())]
    kind = next((name for name in expected if name in ancestors), None)
    if kind is None:
        raise ValueError(
            f"{rule}. Received: `registered_name` {shortened(registered)}. {_REMEDY} "
            "Register a class of your own by `keras.saving."
            "register_keras_serializable` before you load it."
        )
    _check_names(cls, content["config"], source)
    check_arguments(content["config"], _COMMON, source)
    _check_dtype(content["config"].get("dtype"), source)
    _CHECKS[kind](content["config"], source)
    is_ours = cls.__module__.startswith("keras_dalle.")
    return Serialized(
        kind, {**_defaults(cls), **content["config"]} if is_ours else None
    )


_REMEDY = (
    "Save the preset again, or take its files anew from where they were published."
)


def _check_names(cls: Any, config: Mapping[str, Any], source: str) -> None:
    """Refuses arguments that a class does not have, and requires those it needs."""
    named = _parameters(cls)
    known = {*named, *_COMMON, "dtype"}
    if cls.__module__.startswith("keras_dalle."):
        unknown = sorted(set(config) - known)
        if unknown:
            raise ValueError(
                f"{source} must have arguments of {cls.__name__} alone. Received: "
                f"{shortened(unknown)}. {_REMEDY}"
            )
    missing = [
        name
        for name, parameter in named.items()
        if parameter.default is parameter.empty and name not in config
    ]
    if missing:
        raise ValueError(
            f"{source} must have all arguments of {cls.__name__}. Missing: "
            f"{', '.join(missing)}. {_REMEDY}"
        )


def _parameters(cls: Any) -> dict[str, inspect.Parameter]:
    return {
        name: parameter
        for name, parameter in inspect.signature(cls.__init__).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and name != "self"
    }


def _defaults(cls: Any) -> dict[str, Any]:
    return {
        name: parameter.default
        for name, parameter in _parameters(cls).items()
        if parameter.default is not parameter.empty
    }


def _check_dtype(dtype: Any, source: str) -> None:
    """Raises unless it is a dtype policy of Keras or of keras_dalle."""
    if dtype is None:
        return
    fault = shortened(dtype)
    if isinstance(dtype, dict) and isinstance(dtype.get("config"), dict):
        registered = dtype.get("registered_name")
        ours = isinstance(registered, str) and registered.startswith("keras_dalle>")
        known = hasattr(keras.dtype_policies, str(dtype.get("class_name")))
        if ours or (registered is None and known and dtype.get("module") == "keras"):
            try:
                keras.dtype_policies.deserialize(dtype)
                return
            except (
                Exception
            ) as error:  # any error of its constructor for foreign values
                fault = described(error)
    raise ValueError(
        f"`dtype` must be a dtype policy of Keras in {source}. Received: {fault}. "
        f"{_REMEDY}"
    )


# === Rules of single classes ===


def _check_task(config: Mapping[str, Any], source: str) -> None:
    check_arguments(config, _TASK_RULES, source)
    check_serialized(config["backbone"], (BACKBONE,), f"`backbone` in {source}")
    for name, kind in (("preprocessor", PREPROCESSOR), ("vqgan", VQGAN)):
        if config.get(name) is not None:
            check_serialized(config[name], (kind,), f"`{name}` in {source}")


def _check_preprocessor(config: Mapping[str, Any], source: str) -> None:
    check_arguments(config, _PREPROCESSOR_RULES, source)
    check_serialized(config["tokenizer"], (TOKENIZER,), f"`tokenizer` in {source}")


_CHECKS: dict[str, Callable[[Mapping[str, Any], str], None]] = {
    BACKBONE: check_dalle_bart_arguments,
    VQGAN: check_vqgan_arguments,
    TASK: _check_task,
    PREPROCESSOR: _check_preprocessor,
    TOKENIZER: lambda config, source: None,
}
