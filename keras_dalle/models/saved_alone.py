"""`from_preset` for a tokenizer or preprocessor that was saved without a model.

KerasHub's own needs a backbone's config.json beside it.
"""

import os
from pathlib import Path
from typing import Any

from keras_dalle.models.keras_hub_private import KerasPresetLoader
from keras_dalle.models.preset_files import load_preset
from keras_dalle.utils.files import read_json


class SavedAlone:
    """Lets a class's `from_preset` read its own `save_to_preset` folder.

    Mix it in, in front of `FromOriginalCheckpoint`.

    Attributes:
        own_files: names of configurations; such a folder has one of them.
    """

    own_files: tuple[str, ...]

    @classmethod
    def from_preset(cls, preset, config_file=None, **kwargs):
        """Reads a preset's part: by name or handle, or from a folder.

        Args:
            preset: name, `hf://` handle or folder, of a preset or an original; or the
                folder that a tokenizer's or preprocessor's own `save_to_preset` wrote.
            config_file: name of its configuration there, if it is not KerasHub's.
            **kwargs: replace fields of the configuration.

        Raises:
            HubError: the Hub cannot be reached or does not have it.
            ValueError: a name that is not among this class's `presets`, or files that
                make no such thing.
        """
        names = cls.own_files if config_file is None else (config_file,)
        source = cls._handle(os.fspath(preset))  # type: ignore[attr-defined]
        if config_file is not None:
            kwargs["config_file"] = config_file
        if not _is_saved_alone(source, names):
            return super().from_preset(preset, **kwargs)  # type: ignore[misc]

        def load(folder, **kwargs):
            return cls.load_alone(KerasPresetLoader(folder, config=None), **kwargs)

        return load_preset(cls, source, load, **kwargs)

    @classmethod
    def load_alone(cls, loader: KerasPresetLoader, **kwargs: Any) -> Any:
        """Loads with one of KerasHub's loaders."""
        raise NotImplementedError


def _is_saved_alone(preset: str, names: tuple[str, ...]) -> bool:
    """Tells if a folder without a model has one of the files, in KerasHub's format."""
    folder = Path(preset)
    if not folder.is_dir() or (folder / "config.json").exists():
        return False
    # An original's tokenizer.json is Hugging Face's.
    contents = (read_json(folder / x) for x in names if (folder / x).exists())
    return any(isinstance(x, dict) and "registered_name" in x for x in contents)
