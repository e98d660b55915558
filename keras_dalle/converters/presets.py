"""KerasHub preset folders as one more checkpoint format."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_hub

from keras_dalle.models import DalleBartBackbone, DalleBartTextToImage, VQGANBackbone
from keras_dalle.utils.files import read_json
from keras_dalle.utils.foreign_values import described

CONFIG_FILE = "config.json"
TASK_FILE = "task.json"
PREPROCESSOR_FILE = "preprocessor.json"
MODEL_CLASSES = (DalleBartTextToImage, DalleBartBackbone, VQGANBackbone)


def is_preset(directory: Path) -> bool:
    """Whether a folder is a preset as KerasHub's `save_to_preset` writes it."""
    path = directory / CONFIG_FILE
    config = read_json(path) if path.exists() else None
    return isinstance(config, dict) and "registered_name" in config


def load_preset(
    directory: str | os.PathLike,
    notes: list[str] | None = None,
    on_assigned: Callable[[str], None] | None = None,
    **kwargs: Any,
) -> DalleBartTextToImage | DalleBartBackbone | VQGANBackbone:
    """Reads a preset: the task if there is one, else the backbone.

    `notes` and `on_assigned` are there since all formats' loaders have them.

    Args:
        directory: the preset's folder.
        **kwargs: of the class's `from_preset`, e.g. `dtype`.

    Raises:
        OSError: its files are damaged, or make no model; the message ends with why.
        ValueError: it is a preset of a class that is not keras_dalle's.
    """
    is_task = (Path(directory) / TASK_FILE).exists()
    base = DalleBartTextToImage if is_task else keras_hub.models.Backbone
    try:
        model = base.from_preset(os.fspath(directory), **kwargs)
    except (OSError, ValueError, KeyError) as error:
        raise OSError(
            f"The files of the preset {directory} cannot be read, or are damaged. Copy "
            f"or download them again. {described(error)}"
        ) from error
    if not isinstance(model, MODEL_CLASSES):
        names = " or ".join(each.__name__ for each in MODEL_CLASSES)
        raise ValueError(
            f"The preset {directory} must be of a {names}. Received: "
            f"{type(model).__name__}."
        )
    return model
