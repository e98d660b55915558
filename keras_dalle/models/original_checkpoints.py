"""`from_preset` on checkpoints as the original projects published them."""

import os
from pathlib import Path
from typing import Any

from keras_dalle.models.keras_hub_private import BUILTIN_PRESETS
from keras_dalle.models.preset_files import load_preset
from keras_dalle.utils import hub
from keras_dalle.utils.file_errors import naming_files
from keras_dalle.utils.files import read_json

CONFIG_FILES = ("config.json",)
WEIGHT_FILES = (
    "flax_model.msgpack",
    "flax_model.msgpack.index.json",
    "flax_model-*.msgpack",
)
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
)


def is_original_checkpoint(preset: str | os.PathLike) -> bool:
    """Whether `preset` is a local folder that is not in KerasHub's format.

    Raises:
        ValueError: its config.json is not valid JSON.
    """
    config = Path(preset, *CONFIG_FILES)
    if config.exists():
        content = read_json(config)
        return not (isinstance(content, dict) and "registered_name" in content)
    return Path(preset).is_dir()


class FromOriginalCheckpoint:
    """Lets a KerasHub class's `from_preset` read the originals' checkpoints too.

    A class that mixes this in brings its own `from_original`, and says which files it
    reads.

    Attributes:
        original_files: names and patterns of the files to fetch from a Hub.
    """

    original_files: tuple[str, ...] = ()

    @classmethod
    def from_original(cls, directory: Path, *args: Any, **kwargs: Any) -> Any:
        """Reads a folder as the original project published it."""
        raise NotImplementedError(f"{cls.__name__} reads no original checkpoint.")

    @classmethod
    def from_preset(cls, preset, *args, **kwargs):
        """As KerasHub's; `preset` may also be an original's folder or `hf://` handle.

        Raises:
            HubError: the Hub cannot be reached or does not have it.
            ValueError: a name that is not among this class's `presets`, or files that
                make no such model.
        """
        preset = os.fspath(preset)
        source = cls._handle(preset)
        if source.startswith(hub.PREFIX):
            source = cls._fetch(preset, source)
        if is_original_checkpoint(source):
            with naming_files(source, cls.__name__):
                return cls.from_original(Path(source), *args, **kwargs)
        load = super().from_preset  # type: ignore[misc]
        return load_preset(cls, source, load, *args, **kwargs)

    @classmethod
    def _handle(cls, preset: str) -> str:
        presets = cls.presets  # type: ignore[attr-defined]
        if preset in presets:
            return presets[preset]["kaggle_handle"]
        if preset in BUILTIN_PRESETS:
            raise ValueError(
                f"`preset` must be a preset of {cls.__name__}: "
                f"{', '.join(presets)}. Received: {preset}, which is another model's."
            )
        return preset

    @classmethod
    def _fetch(cls, preset: str, handle: str) -> str:
        """The local folder of an original on the Hub; KerasHub fetches its own."""
        repository = hub.open_repository(preset, handle)
        folder = repository.fetch(CONFIG_FILES)
        if is_original_checkpoint(folder):
            return str(repository.fetch(cls.original_files))
        return handle if repository.fault is None else str(folder)
