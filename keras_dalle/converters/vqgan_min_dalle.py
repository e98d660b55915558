"""The decoder of DALL·E mini's VQGAN as min-dalle publishes it: detoker.pt.

Pictures are vqgan-jax's: min-dalle's own class normalizes with an epsilon of 1e-5 where
the VQGAN was trained with 1e-6, which moves its pixels by about 3e-4.
"""

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from keras_dalle.converters.deferred import deferred_variables
from keras_dalle.converters.mapping import assign_weights, model_tensors
from keras_dalle.converters.sizes import MIN_DALLE_VQGAN, check_vqgan
from keras_dalle.converters.tensors import StoredTensor
from keras_dalle.converters.torch import open_torch_checkpoint, write_torch_checkpoint
from keras_dalle.converters.vqgan_config import require_original
from keras_dalle.converters.vqgan_names import MIN_DALLE_TABLE, largest_number
from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone
from keras_dalle.utils.files import require_files
from keras_dalle.utils.foreign_values import shortened

WEIGHTS_FILE = "detoker.pt"

# No tensor shows these: min-dalle's grid of tokens, and DALL·E mini's values.
_GRID_SIZE = 16
_VALUE_RANGE = (0.0, 1.0)


def load_min_dalle_vqgan(
    directory: str | os.PathLike,
    load_weights: bool = True,
    notes: list[str] | None = None,
    on_assigned: Callable[[str], None] | None = None,
    **kwargs: Any,
) -> VQGANBackbone:
    """A `VQGANBackbone` that decodes, but has no encoder.

    Args:
        directory: holds detoker.pt.
        load_weights: whether to read the weights; the sizes come from the file in
            any case.
        notes: gets a sentence on what the file lacks.
        on_assigned: called with each tensor's name when it has been assigned.
        **kwargs: arguments of `VQGANBackbone` that replace those of the file.

    Raises:
        FileNotFoundError: the folder lacks the file.
        ImportError: PyTorch is not installed.
        ValueError: the file is damaged, or its tensors do not fit together, by name.
    """
    require_files(directory, [WEIGHTS_FILE], "min-dalle VQGAN")
    path = Path(directory) / WEIGHTS_FILE
    tensors = open_torch_checkpoint(path)
    source = os.fspath(path)
    config = {**config_from_tensors(tensors, source), **kwargs}
    check_vqgan(config, tensors, MIN_DALLE_VQGAN, source)
    with deferred_variables():
        backbone = VQGANBackbone(**config)
        if load_weights:
            assign_weights(
                backbone, tensors, MIN_DALLE_TABLE, source, on_assigned=on_assigned
            )
    if notes is not None:
        notes.append("detoker.pt holds a decoder alone: the VQGAN cannot encode.")
    return backbone


def save_min_dalle_vqgan(
    backbone: VQGANBackbone,
    directory: str | os.PathLike,
    notes: list[str] | None = None,
) -> None:
    """Writes detoker.pt: the tensors of the decoder.

    min-dalle's own class reads it if the model has the released sizes.

    Args:
        backbone: the model.
        directory: an existing folder.
        notes: gets a sentence on what the format does not keep.

    Raises:
        ImportError: PyTorch is not installed.
        ValueError: the format has no place for a choice of the model, by name.
    """
    require_original(
        backbone,
        "min-dalle",
        notes,
        quantizer_kind=("nearest", None),
        value_range=(_VALUE_RANGE,),
        grid_size=(_GRID_SIZE,),
    )
    tensors = model_tensors(backbone, MIN_DALLE_TABLE)
    kept = {name: x for name, x in tensors.items() if not _is_of_encoder(name)}
    if len(kept) < len(tensors) and notes is not None:
        notes.append("detoker.pt holds the decoder alone; the encoder is left out.")
    write_torch_checkpoint(Path(directory) / WEIGHTS_FILE, kept)


def _is_of_encoder(name: str) -> bool:
    return name.startswith(("encoder.", "quant_conv."))


def config_from_tensors(
    tensors: Mapping[str, StoredTensor], source: str
) -> dict[str, Any]:
    """Arguments of `VQGANBackbone` that the shapes of a decoder's tensors show.

    Args:
        tensors: with min-dalle's names.
        source: where they come from, for the error's text.

    Raises:
        ValueError: a tensor that shows a size is missing or has other axes.
    """
    codebook_size, embedding_dim = _shape(tensors, "embedding.weight", 2, source)
    latent_channels = _shape(tensors, "post_quant_conv.weight", 4, source)[0]
    levels = 1 + largest_number(tensors, r"decoder\.up\.(\d+)\.")
    channels = [
        _shape(tensors, f"decoder.up.{level}.block.0.conv1.weight", 4, source)[0]
        for level in range(levels)
    ]
    base_channels = math.gcd(*channels)
    return {
        "image_size": _GRID_SIZE * 2 ** (levels - 1),
        "base_channels": base_channels,
        "channel_multipliers": tuple(count // base_channels for count in channels),
        "num_res_blocks": largest_number(tensors, r"decoder\.up\.0\.block\.(\d+)\."),
        "attention_resolutions": tuple(
            _GRID_SIZE * 2 ** (levels - 1 - level)
            for level in range(levels)
            if f"decoder.up.{level}.attn.0.q.weight" in tensors
        ),
        "latent_channels": latent_channels,
        "embedding_dim": embedding_dim,
        "codebook_size": codebook_size,
        "quantizer": None,
        "value_range": _VALUE_RANGE,
    }


def _shape(
    tensors: Mapping[str, StoredTensor], name: str, axes: int, source: str
) -> tuple[int, ...]:
    shape = tensors[name].shape if name in tensors else None
    if shape is None or len(shape) != axes:
        received = f"the shape {shortened(shape)}" if shape else "no such tensor"
        raise ValueError(
            f"{source} must hold `{name}` with {axes} axes. Received: {received}."
        )
    return shape
