"""VQGANs in vqgan-jax's format: config.json and flax_model.msgpack."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from keras_dalle.converters.config_fields import check_fields
from keras_dalle.converters.deferred import deferred_variables
from keras_dalle.converters.flax import open_flax_msgpack, write_flax_msgpack
from keras_dalle.converters.mapping import assign_weights, model_tensors
from keras_dalle.converters.sizes import FLAX_VQGAN, check_vqgan
from keras_dalle.converters.vqgan_config import (
    CODEBOOK_FIELDS,
    FIXED_FIELDS,
    NETWORK_FIELDS,
    OPTIONAL_FIELDS,
    codebook_arguments,
    codebook_fields,
    network_arguments,
    network_fields,
    require_original,
)
from keras_dalle.converters.vqgan_names import FLAX_TABLE
from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone
from keras_dalle.utils.files import read_json, require_files
from keras_dalle.utils.foreign_values import naming, shortened

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "flax_model.msgpack"

# vqgan-jax's published checkpoints see black as 0, not as -1. No field says so.
_VALUE_RANGE = (0.0, 1.0)

_WITHOUT_EFFECT = {
    "_name_or_path",
    "architectures",
    "model_type",
    "torch_dtype",
    "transformers_version",
}


def config_from_flax(
    config: Mapping[str, Any], notes: list[str] | None = None
) -> dict[str, Any]:
    """Arguments of `VQGANBackbone` for vqgan-jax's config.json.

    Args:
        config: the parsed file.
        notes: gets a sentence on fields that have no effect.

    Raises:
        ValueError: a field is missing or unknown, or has a value that no published
            model has.
    """
    optional = {*FIXED_FIELDS, *OPTIONAL_FIELDS, "num_resolutions"}
    required = {*NETWORK_FIELDS, *CODEBOOK_FIELDS}
    check_fields(config, required, optional, _WITHOUT_EFFECT, notes)
    arguments = network_arguments(config)
    levels = len(arguments["channel_multipliers"])
    if config.get("num_resolutions", levels) != levels:
        raise ValueError(
            f"`num_resolutions` (={shortened(config['num_resolutions'])}) must be the "
            f"number of entries of `ch_mult` (={shortened(config['ch_mult'])})."
        )
    return {**arguments, **codebook_arguments(config), "value_range": _VALUE_RANGE}


def load_flax_vqgan(
    directory: str | os.PathLike,
    load_weights: bool = True,
    notes: list[str] | None = None,
    on_assigned: Callable[[str], None] | None = None,
    **kwargs: Any,
) -> VQGANBackbone:
    """A `VQGANBackbone` from a folder as vqgan-jax's `save_pretrained` writes it.

    Args:
        directory: holds config.json and flax_model.msgpack (or its shards).
        load_weights: whether to read the weights.
        notes: gets a sentence on fields that have no effect.
        on_assigned: called with each tensor's name when it has been assigned.
        **kwargs: arguments of `VQGANBackbone` that replace those of config.json.

    Raises:
        FileNotFoundError: one of the files is missing.
        ValueError: an unsupported config, or weights that do not fit it, by name.
    """
    directory = Path(directory)
    require_files(directory, [CONFIG_FILE], "vqgan-jax")
    content = read_json(directory / CONFIG_FILE)
    with naming(directory / CONFIG_FILE):
        config = {**config_from_flax(content, notes), **kwargs}
    tensors = open_flax_msgpack(directory / WEIGHTS_FILE) if load_weights else {}
    check_vqgan(config, tensors, FLAX_VQGAN, os.fspath(directory))
    with deferred_variables():
        backbone = VQGANBackbone(**config)
        if load_weights:
            source = os.fspath(directory / WEIGHTS_FILE)
            assign_weights(
                backbone, tensors, FLAX_TABLE, source, on_assigned=on_assigned
            )
    return backbone


def save_flax_vqgan(
    backbone: VQGANBackbone,
    directory: str | os.PathLike,
    notes: list[str] | None = None,
) -> None:
    """Writes config.json and flax_model.msgpack as vqgan-jax has them.

    Args:
        backbone: the model.
        directory: an existing folder.
        notes: gets a sentence on what the format does not keep.

    Raises:
        ValueError: the format has no place for a choice of the model, by name.
    """
    require_original(
        backbone,
        "vqgan-jax",
        notes,
        quantizer_kind=("nearest",),
        value_range=(_VALUE_RANGE,),
    )
    config = {
        **network_fields(backbone),
        **codebook_fields(backbone),
        "num_resolutions": len(backbone.channel_multipliers),
    }
    directory = Path(directory)
    tensors = model_tensors(backbone, FLAX_TABLE)
    write_flax_msgpack(directory / WEIGHTS_FILE, tensors)
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (directory / CONFIG_FILE).write_text(text, encoding="utf-8")
