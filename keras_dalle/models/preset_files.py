"""Checks of a preset's folder before KerasHub builds the model in it.

A class's `from_preset` calls `load_preset`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_dalle.models import preset_configs as configs
from keras_dalle.models.keras_hub_private import check_file_exists, get_file
from keras_dalle.models.preset_weights import (
    check_dalle_bart_weights,
    check_vqgan_weights,
    require_finite,
)
from keras_dalle.utils.file_errors import naming_files
from keras_dalle.utils.files import read_json, require_regular_file
from keras_dalle.utils.hdf5_shapes import shard_names

CONFIG_FILE = "config.json"
TASK_FILE = "task.json"
WEIGHTS_FILE = "model.weights.h5"
SHARDS_FILE = "model.weights.json"
TASK_WEIGHTS_FILE = "task.weights.h5"
PREPROCESSOR_FILE = "preprocessor.json"
TOKENIZER_FILE = "tokenizer.json"

_CHECK_WEIGHTS = {
    configs.BACKBONE: check_dalle_bart_weights,
    configs.VQGAN: check_vqgan_weights,
}


def load_preset(
    cls: type, preset: str, load: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """Loads a preset by KerasHub's `from_preset` after the checks.

    Args:
        cls: the class that is asked for.
        preset: a local folder, or a handle of a Hub.
        load: KerasHub's `from_preset`.
        *args: of `load`, after the preset.
        **kwargs: of `load`.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or makes no such model; names it and says why.
    """
    load_weights = bool((*args, kwargs.get("load_weights", True))[0])
    with naming_files(preset, cls.__name__):
        check_preset(cls, preset, load_weights, kwargs)
        loaded = load(preset, *args, **kwargs)
    if load_weights:
        for model in (
            getattr(loaded, "backbone", loaded),
            getattr(loaded, "vqgan", None),
        ):
            if hasattr(model, "weights"):
                require_finite(model, preset)
    return loaded


def check_preset(cls: type, preset: str, load_weights: bool, kwargs: Any) -> None:
    """Raises unless the files of a preset are what KerasHub is to read.

    Args:
        cls: the class that is asked for.
        preset: a local folder, or a handle of a Hub.
        load_weights: whether the weights are to be read.
        kwargs: of `from_preset`; parts that are passed are not read.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or makes no such model; names it and says why.
    """
    kinds = {each.__name__ for each in cls.__mro__}
    if kinds & {configs.BACKBONE, configs.VQGAN, configs.TASK}:
        path = _file(preset, CONFIG_FILE)
        model = configs.check_serialized(
            read_json(path), (configs.BACKBONE, configs.VQGAN), str(path)
        )
        if load_weights:
            _check_weights(model, preset, WEIGHTS_FILE)
    if configs.TASK in kinds and check_file_exists(preset, TASK_FILE):
        _check_task(preset, load_weights, kwargs)
    if configs.TOKENIZER in kinds:
        name = kwargs.get("config_file", TOKENIZER_FILE)
        _check_object(preset, name, configs.TOKENIZER)
    if configs.PREPROCESSOR in kinds:
        name = kwargs.get("config_file", PREPROCESSOR_FILE)
        if check_file_exists(preset, name):
            _check_object(preset, name, configs.PREPROCESSOR)
        else:  # KerasHub makes one of the tokenizer.
            _check_object(preset, TOKENIZER_FILE, configs.TOKENIZER)


def _check_task(preset: str, load_weights: bool, kwargs: Any) -> None:
    path = _file(preset, TASK_FILE)
    content = read_json(path)
    task = configs.check_serialized(content, (configs.TASK,), str(path))
    for name, file in (("backbone", WEIGHTS_FILE), ("vqgan", TASK_WEIGHTS_FILE)):
        part = content["config"].get(name)
        if task.arguments is None or part is None or name in kwargs:
            continue
        kind = configs.BACKBONE if name == "backbone" else configs.VQGAN
        serialized = configs.check_serialized(part, (kind,), f"`{name}` in {path}")
        if load_weights:
            _check_weights(serialized, preset, file)


def _check_object(preset: str, name: str, kind: str) -> None:
    path = _file(preset, name)
    configs.check_serialized(read_json(path), (kind,), str(path))


def _check_weights(model: configs.Serialized, preset: str, name: str) -> None:
    has_shards = name == WEIGHTS_FILE and not check_file_exists(preset, name)
    path = _file(preset, SHARDS_FILE if has_shards else name)
    if has_shards:
        for shard in shard_names(path):
            _file(preset, shard)
    if model.arguments is not None:
        _CHECK_WEIGHTS[model.kind](model.arguments, path)


def _file(preset: str, name: str) -> Path:
    """Returns the local path of a preset's file, after a download if needed."""
    path = Path(get_file(preset, name))
    if not path.exists():
        raise FileNotFoundError(f"The preset {preset} must hold {name}. It has none.")
    require_regular_file(path)
    return path
