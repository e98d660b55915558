"""VQGANs of taming-transformers (VQModel, GumbelVQ): a .yaml and a .ckpt."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from keras_dalle.converters.deferred import deferred_variables
from keras_dalle.converters.mapping import assign_weights, model_tensors
from keras_dalle.converters.sizes import check_vqgan, torch_vqgan
from keras_dalle.converters.taming_folder import find_taming_files
from keras_dalle.converters.tensors import StoredTensor
from keras_dalle.converters.torch import open_torch_checkpoint, write_torch_checkpoint
from keras_dalle.converters.vqgan_config import require_original
from keras_dalle.converters.vqgan_taming_config import (
    TAMING_MODELS,
    VALUE_RANGE,
    config_from_taming,
    taming_from_backbone,
    taming_model,
    vqgan_of_taming,
)
from keras_dalle.models.foreign_config import check_vqgan_arguments
from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone
from keras_dalle.utils.foreign_values import naming
from keras_dalle.utils.yaml_files import read_yaml

CONFIG_FILE = "config.yaml"
WEIGHTS_FILE = "last.ckpt"

# Tensors beside the model's: those of the losses (discriminator, LPIPS), and the
# colours that segmentation maps are logged in.
_IGNORED = (r"loss\..+", "colorize")
# A transformer's checkpoint holds the VQGAN whose codes it draws.
_FIRST_STAGE = "first_stage_model."


def load_taming_vqgan(
    directory: str | os.PathLike,
    load_weights: bool = True,
    notes: list[str] | None = None,
    on_assigned: Callable[[str], None] | None = None,
    *,
    config: str | os.PathLike | None = None,
    weights: str | os.PathLike | None = None,
    **kwargs: Any,
) -> VQGANBackbone:
    """A `VQGANBackbone` from a folder with the .yaml and the .ckpt of its training.

    Args:
        directory: holds one .yaml and one .ckpt, under any name, also within
            `configs` and `checkpoints`; see `find_taming_files`. They may be those of
            a Net2NetTransformer, whose VQGAN is taken.
        load_weights: whether to read the weights.
        notes: gets sentences on fields and tensors that have no effect.
        on_assigned: called with each tensor's name when it has been assigned.
        config: the .yaml's path, where the folder has several.
        weights: the .ckpt's path, where the folder has several.
        **kwargs: arguments of `VQGANBackbone` that replace those of the yaml.

    Raises:
        FileNotFoundError: there is no such pair of files, or more than one.
        ImportError: PyTorch is not installed.
        ValueError: a file is damaged, the config is unsupported, or the weights do
            not fit it, by name.
    """
    config_path, weights_path = find_taming_files(directory, config, weights, notes)
    content = read_yaml(config_path)
    with naming(config_path):
        content = vqgan_of_taming(content)
        model = taming_model(content)
        arguments = {**config_from_taming(content, notes), **kwargs}
    check_vqgan_arguments(arguments, os.fspath(config_path))
    tensors: Mapping[str, StoredTensor] = {}
    if load_weights:
        tensors = _of_vqgan(open_torch_checkpoint(weights_path), notes)
        _note_ignored(tensors, notes)
    check_vqgan(
        arguments, tensors, torch_vqgan(model.codebook), os.fspath(weights_path)
    )
    with deferred_variables():
        backbone = VQGANBackbone(**arguments)
        if load_weights:
            assign_weights(
                backbone,
                tensors,
                model.table,
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


def open_taming_vqgan(
    directory: str | os.PathLike,
    config: str | os.PathLike | None = None,
    weights: str | os.PathLike | None = None,
) -> dict[str, StoredTensor]:
    """Opens all tensors of a folder's .ckpt; see `find_taming_files` for arguments."""
    return open_torch_checkpoint(find_taming_files(directory, config, weights)[1])


def _of_vqgan(
    tensors: Mapping[str, StoredTensor], notes: list[str] | None
) -> Mapping[str, StoredTensor]:
    """Returns the VQGAN's tensors, which may be among those of a transformer."""
    inside = {
        name.removeprefix(_FIRST_STAGE): tensor
        for name, tensor in tensors.items()
        if name.startswith(_FIRST_STAGE)
    }
    if not inside:
        return tensors
    if notes is not None:
        notes.append(
            "Took the VQGAN out of a Net2NetTransformer: "
            f"{len(tensors) - len(inside)} tensors are not the VQGAN's."
        )
    return inside


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
