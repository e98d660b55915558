"""The checkpoint folders that can be read: which there are, and how they are told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_dalle.converters.dalle_bart import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    load_dalle_bart,
)
from keras_dalle.converters.flax import INDEX_SUFFIX, open_flax_msgpack
from keras_dalle.converters.min_dalle import (
    FILES,
    is_min_dalle,
    load_min_dalle,
    open_min_dalle,
)
from keras_dalle.converters.presets import is_preset, load_preset
from keras_dalle.converters.tensors import StoredTensor
from keras_dalle.converters.tokenizer_files import (
    is_tokenizer_folder,
    load_tokenizer,
)
from keras_dalle.converters.torch import open_torch_checkpoint
from keras_dalle.converters.vqgan_flax import load_flax_vqgan
from keras_dalle.converters.vqgan_min_dalle import WEIGHTS_FILE as DETOKENIZER_FILE
from keras_dalle.converters.vqgan_min_dalle import load_min_dalle_vqgan
from keras_dalle.converters.vqgan_taming import load_taming_vqgan, open_taming_vqgan
from keras_dalle.utils.files import read_json
from keras_dalle.utils.foreign_values import one_line, shortened


@dataclass(frozen=True)
class CheckpointFormat:
    """One kind of checkpoint folder.

    Attributes:
        name: what it is called.
        files: what it is told by, in words.
        recognise: whether a folder is of this kind.
        tensors: the folder's tensors by name, as they are stored; None where they
            are not read one by one.
        load: `load(directory, notes=None, on_assigned=None, **kwargs)` reads the
            folder as a Keras object; further arguments are those of its class.
        has_choice: whether `tensors` and `load` take `config` and `weights`, the files
            to read where the folder has several.
    """

    name: str
    files: str
    recognise: Callable[[Path], bool]
    tensors: Callable[..., Mapping[str, StoredTensor]] | None
    load: Callable[..., Any]
    has_choice: bool = False


def _config(directory: Path) -> Mapping[str, Any]:
    path = directory / CONFIG_FILE
    config = read_json(path) if path.exists() else {}
    return config if isinstance(config, dict) else {}


def _has(directory: Path, *names: str) -> bool:
    return all((directory / name).exists() for name in names)


def _has_flax_weights(directory: Path) -> bool:
    return _has(directory, WEIGHTS_FILE) or _has(directory, WEIGHTS_FILE + INDEX_SUFFIX)


def _is_flax_dalle_bart(directory: Path) -> bool:
    is_bart = _config(directory).get("model_type") == "dallebart"
    return is_bart and _has_flax_weights(directory)


def _is_flax_vqgan(directory: Path) -> bool:
    return "z_channels" in _config(directory) and _has_flax_weights(directory)


def _is_taming_vqgan(directory: Path) -> bool:
    return any(any(directory.glob(place)) for place in ("*.ckpt", "checkpoints/*.ckpt"))


def _flax_tensors(directory: Path) -> Mapping[str, StoredTensor]:
    return open_flax_msgpack(directory / WEIGHTS_FILE)


# The first that recognises a folder reads it; a tokenizer alone comes last, since
# other folders hold tokenizers too.
FORMATS = (
    CheckpointFormat(
        "KerasHub preset",
        "config.json with `registered_name`",
        is_preset,
        None,
        load_preset,
    ),
    CheckpointFormat(
        "Flax DalleBart",
        "config.json with `model_type` dallebart, and flax_model.msgpack or its shards",
        _is_flax_dalle_bart,
        _flax_tensors,
        load_dalle_bart,
    ),
    CheckpointFormat(
        "Flax VQGAN",
        "config.json with `z_channels`, and flax_model.msgpack or its shards",
        _is_flax_vqgan,
        _flax_tensors,
        load_flax_vqgan,
    ),
    CheckpointFormat(
        "taming-transformers VQGAN",
        "a .ckpt and a .yaml",
        _is_taming_vqgan,
        open_taming_vqgan,
        load_taming_vqgan,
        has_choice=True,
    ),
    CheckpointFormat(
        "min-dalle",
        " and ".join(FILES.values()),
        is_min_dalle,
        open_min_dalle,
        load_min_dalle,
    ),
    CheckpointFormat(
        "min-dalle VQGAN",
        DETOKENIZER_FILE,
        lambda directory: _has(directory, DETOKENIZER_FILE),
        lambda directory: open_torch_checkpoint(directory / DETOKENIZER_FILE),
        load_min_dalle_vqgan,
    ),
    CheckpointFormat(
        "Hugging Face tokenizer",
        "tokenizer.json, or vocab.json and merges.txt",
        is_tokenizer_folder,
        None,
        load_tokenizer,
    ),
)


def recognise(directory: Path) -> CheckpointFormat:
    """The format of a checkpoint folder.

    Raises:
        NotADirectoryError: there is no such folder.
        ValueError: its format is none of the known ones; lists them, and what was
            found.
    """
    if not directory.is_dir():
        raise NotADirectoryError(
            f"A checkpoint must be a folder. There is no folder {directory}."
        )
    for known in FORMATS:
        if known.recognise(directory):
            return known
    known_formats = "\n".join(f"  {known.name}: {known.files}" for known in FORMATS)
    raise ValueError(
        f"{directory} must be a folder in one of these formats:\n{known_formats}\n"
        f"  Received: {_contents(directory)}."
    )


def _contents(directory: Path) -> str:
    names = sorted(path.name for path in directory.iterdir())
    model_type = _config(directory).get("model_type")
    suffix = f" (with `model_type` {shortened(model_type)})" if model_type else ""
    return f"{one_line(', '.join(names)) or 'an empty folder'}{suffix}"
