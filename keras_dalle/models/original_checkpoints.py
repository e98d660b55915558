"""`from_preset` on checkpoint folders as the original projects published them."""

import os
from pathlib import Path
from typing import Any

from keras_dalle.utils.files import read_json

_TOKENIZER_FILES = ("tokenizer.json", "vocab.json")


def is_original_checkpoint(preset: str | os.PathLike) -> bool:
    """Whether `preset` is a local folder in an original's format, not in KerasHub's.

    Raises:
        ValueError: its config.json is not valid JSON.
    """
    directory = Path(preset)
    config = directory / "config.json"
    if not config.is_file():
        return any((directory / name).is_file() for name in _TOKENIZER_FILES)
    return "registered_name" not in read_json(config)


class FromOriginalCheckpoint:
    """Lets a KerasHub class's `from_preset` read the original's folders too.

    A class that mixes this in brings its own `from_original`.
    """

    @classmethod
    def from_original(cls, directory: Path, *args: Any, **kwargs: Any) -> Any:
        """Reads a folder as the original project published it."""
        raise NotImplementedError(f"{cls.__name__} reads no original checkpoint.")

    @classmethod
    def from_preset(cls, preset, *args, **kwargs):
        """As KerasHub's; `preset` may also be a folder of the original project."""
        if is_original_checkpoint(preset):
            return cls.from_original(Path(preset), *args, **kwargs)
        return super().from_preset(os.fspath(preset), *args, **kwargs)  # type: ignore[misc]
