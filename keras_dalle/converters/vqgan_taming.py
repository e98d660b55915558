"""VQGANs of taming-transformers (VQModel, GumbelVQ): a .yaml and a .ckpt."""

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from keras_dalle.converters.mapping import assign_weights, model_tensors
from keras_dalle.converters.torch import open_torch_checkpoint, write_torch_checkpoint
from keras_dalle.converters.vqgan_config import require_original
from keras_dalle.converters.vqgan_taming_config import (
    TAMING_MODELS,
    VALUE_RANGE,
    config_from_taming,
    taming_from_backbone,
    taming_model,
)
from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone
from keras_dalle.utils.files import read_limited_text

CONFIG_FILE = "config.yaml"
WEIGHTS_FILE = "last.ckpt"

# Published folders hold both files, or the training's own sub-folders.
_CONFIG_PATTERNS = ("*.yaml", "*.yml", "configs/*.yaml")
_WEIGHTS_PATTERNS = ("*.ckpt", "checkpoints/*.ckpt")

# Tensors beside the model's: those of the losses (discriminator, LPIPS), and the
# colours that segmentation maps are logged in.
_IGNORED = (r"loss\..+", "colorize")


def load_taming_vqgan(
    directory: str | os.PathLike,
    load_weights: bool = True,
    notes: list[str] | None = None,
    on_assigned: Callable[[str], None] | None = None,
    **kwargs: Any,
) -> VQGANBackbone:
    """A `VQGANBackbone` from a folder with the .yaml and the .ckpt of its training.

    Args:
        directory: holds one .yaml and one .ckpt, under any name, also within
            `configs` and `checkpoints`.
        load_weights: whether to read the weights.
        notes: gets sentences on fields and tensors that have no effect.
        on_assigned: called with each tensor's name when it has been assigned.
        **kwargs: arguments of `VQGANBackbone` that replace those of the yaml.

    Raises:
        FileNotFoundError: there is no such pair of files, or more than one.
        ImportError: PyTorch is not installed.
        ValueError: a file is damaged, the config is unsupported, or the weights do
            not fit it, by name.
    """
    config_path, weights_path = find_taming_files(directory)
    config = read_yaml(config_path)
    arguments = config_from_taming(config, notes)
    tensors = open_torch_checkpoint(weights_path) if load_weights else {}
    _note_ignored(tensors, notes)
    backbone = VQGANBackbone(**{**arguments, **kwargs})
    if load_weights:
        assign_weights(
            backbone,
            tensors,
            taming_model(config).table,
            source=os.fspath(weights_path),
            ignored=_IGNORED,
            on_assigned=on_assigned,
        )
    return backbone


def save_taming_vqgan(
    backbone: VQGANBackbone,
    directory: str | os.PathLike,
    notes: list[str] | None = None,
) -> None:
    """Writes config.yaml and last.ckpt, for taming-transformers' VQModel or GumbelVQ.

    Args:
        backbone: the model.
        directory: an existing folder.
        notes: gets a sentence on what the format does not keep.

    Raises:
        ImportError: PyTorch is not installed.
        ValueError: the format has no place for a choice of the model, by name.
    """
    quantizers = tuple(model.quantizer for model in TAMING_MODELS.values())
    require_original(
        backbone,
        "taming-transformers",
        notes,
        quantizer_kind=quantizers,
        value_range=(VALUE_RANGE,),
    )
    config = taming_from_backbone(backbone)
    tensors = model_tensors(backbone, taming_model(config).table)
    directory = Path(directory)
    write_torch_checkpoint(directory / WEIGHTS_FILE, tensors, key="state_dict")
    text = yaml.safe_dump(config, sort_keys=False)
    (directory / CONFIG_FILE).write_text(text, encoding="utf-8")


def find_taming_files(directory: str | os.PathLike) -> tuple[Path, Path]:
    """The one .yaml and the one .ckpt of a folder.

    Raises:
        FileNotFoundError: there is not exactly one of each; says what was found.
    """
    return (
        _the_one(Path(directory), _CONFIG_PATTERNS),
        _the_one(Path(directory), _WEIGHTS_PATTERNS),
    )


def _the_one(directory: Path, patterns: Iterable[str]) -> Path:
    found = sorted(path for pattern in patterns for path in directory.glob(pattern))
    if len(found) != 1:
        names = [path.relative_to(directory).as_posix() for path in found]
        raise FileNotFoundError(
            "A taming-transformers folder must hold exactly one of "
            f"{', '.join(patterns)}. {directory} has: {', '.join(names) or 'none'}."
        )
    return found[0]


def read_yaml(path: str | os.PathLike) -> Any:
    """The content of a YAML file; tags that would build Python objects are errors.

    Raises:
        ValueError: it is not YAML in UTF-8; the message names the file.
    """
    try:
        return yaml.safe_load(read_limited_text(path))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{os.fspath(path)} is not valid YAML ({error}). Copy or download it again."
        ) from error


def _note_ignored(tensors: Iterable[str], notes: list[str] | None) -> None:
    ignored = [
        name
        for name in tensors
        if any(re.fullmatch(pattern, name) for pattern in _IGNORED)
    ]
    if ignored and notes is not None:
        parts = sorted({".".join(name.split(".")[:2]) for name in ignored})
        notes.append(
            f"Ignored {len(ignored)} tensors of the training, which are not the "
            f"VQGAN's: {', '.join(parts)}."
        )
