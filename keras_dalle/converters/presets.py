"""KerasHub preset folders as one more checkpoint format."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_dalle.models import DalleBartBackbone, DalleBartTextToImage, VQGANBackbone
from keras_dalle.models.preset_configs import BACKBONE, VQGAN, check_serialized
from keras_dalle.utils.files import read_json

CONFIG_FILE = "config.json"
TASK_FILE = "task.json"
PREPROCESSOR_FILE = "preprocessor.json"


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
    path = Path(directory) / CONFIG_FILE
    if (Path(directory) / TASK_FILE).exists():
        base: Any = DalleBartTextToImage
    else:
        kind = check_serialized(read_json(path), (BACKBONE, VQGAN), str(path)).kind
        base = {BACKBONE: DalleBartBackbone, VQGAN: VQGANBackbone}[kind]
    try:
        return base.from_preset(os.fspath(directory), **kwargs)
    except (OSError, ValueError) as error:
        raise OSError(
            f"The files of the preset {directory} cannot be read, or are damaged. Copy "
            f"or download them again. {type(error).__name__}: {error}"
        ) from error
