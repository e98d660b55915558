"""Reads and writes min-dalle's torch files of DALL·E mini: encoder.pt and decoder.pt.

They hold the released weights under the names of min-dalle's modules, one dictionary
of tensors a file, and no configuration.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_dalle.converters.dalle_bart import dalle_bart_table
from keras_dalle.converters.deferred import deferred_variables
from keras_dalle.converters.mapping import (
    Rule,
    Transform,
    assign_weights,
    model_tensors,
    tensor_names,
)
from keras_dalle.converters.sizes import check_dalle_bart
from keras_dalle.converters.tensors import StoredTensor
from keras_dalle.converters.torch import open_torch_checkpoint, write_torch_checkpoint
from keras_dalle.layers.variant import TransformerVariant
from keras_dalle.models.dalle_bart.dalle_bart_backbone import DalleBartBackbone
from keras_dalle.utils.files import require_files
from keras_dalle.utils.foreign_values import shortened

FILES = {"encoder": "encoder.pt", "decoder": "decoder.pt"}

# Both released models have heads of this width, and a codebook of this size.
HEAD_DIM = 64
CODEBOOK_SIZE = 16384

# === Names ===

# A dense kernel is [in, out] in the original and [out, in] in torch.
TRANSPOSED = Transform(load=np.transpose, save=np.transpose)
_LAYER = r"model/(encoder|decoder)/layers/FlaxBart\w+Layer_(\d+)"
_LAYER_NORMS = (
    "pre_self_attn_layer_norm",
    "self_attn_layer_norm",
    "pre_encoder_attn_layer_norm",
    "encoder_attn_layer_norm",
)
_ATTENTIONS = ("self_attn", "encoder_attn")


def _norm_rules(theirs: str, ours: str) -> list[Rule]:
    return [
        Rule(f"{theirs}/scale", f"{ours}.weight"),
        Rule(f"{theirs}/bias", f"{ours}.bias"),
    ]


# The original's name of a tensor, layers one by one -> min-dalle's, after its file's.
_NAMES = [
    Rule("lm_head/kernel", "decoder.lm_head.weight", TRANSPOSED),
    Rule(r"model/(\w+)/(embed_\w+)/embedding", r"\1.\2.weight"),
    *_norm_rules(r"model/(\w+)/(layernorm_embedding|final_ln)", r"\1.\2"),
    *(
        rule
        for i, name in enumerate(_LAYER_NORMS)
        for rule in _norm_rules(rf"{_LAYER}/LayerNorm_{i}", rf"\1.layers.\2.{name}")
    ),
    *(
        Rule(
            rf"{_LAYER}/FlaxBartAttention_{i}/(\w+_proj)/kernel",
            rf"\1.layers.\2.{name}.\3.weight",
            TRANSPOSED,
        )
        for i, name in enumerate(_ATTENTIONS)
    ),
    *_norm_rules(rf"{_LAYER}/GLU_0/LayerNorm_(\d)", r"\1.layers.\2.glu.ln\3"),
    Rule(
        rf"{_LAYER}/GLU_0/Dense_(\d)/kernel",
        r"\1.layers.\2.glu.fc\3.weight",
        TRANSPOSED,
    ),
]


def min_dalle_table(backbone: DalleBartBackbone) -> list[Rule]:
    """Rules from the variables of a backbone to min-dalle's names.

    Args:
        backbone: of the released architecture, which is all that min-dalle has.

    Returns:
        One rule a variable; a tensor's name starts with its file's, as in
        "encoder.layers.0.glu.fc0.weight".

    Raises:
        ValueError: the backbone is of another architecture.
    """
    if backbone.variant != TransformerVariant():
        raise ValueError(
            "min-dalle has the architecture of the released DALL·E mini and Mega and "
            f"no other. Received: {backbone.variant}."
        )
    paths = [variable.path for variable in backbone.weights]
    originals = tensor_names(paths, dalle_bart_table(backbone))
    names = tensor_names([name for name, _ in originals.values()], _NAMES)
    return [
        Rule(re.escape(path), names[original][0], names[original][1].transform)
        for path, (original, _) in originals.items()
    ]


# === Configuration ===


def config_from_tensors(tensors: Mapping[str, StoredTensor]) -> dict[str, Any]:
    """Arguments of `DalleBartBackbone`, from the shapes of min-dalle's tensors.

    Heads are 64 wide and the first token is the codebook's size, at most 16,384, as
    in both released models. (min-dalle itself starts from 16,383.)

    Args:
        tensors: both files' tensors, as of `open_min_dalle`.

    Raises:
        ValueError: a tensor that tells a size is missing, or is no matrix.
    """
    vocabulary_size, hidden_dim = _matrix(tensors, "encoder.embed_tokens.weight")
    image_rows, _ = _matrix(tensors, "decoder.embed_tokens.weight")
    first_layers = {side: f"{side}.layers.0.glu.fc0.weight" for side in FILES}
    return {
        "vocabulary_size": vocabulary_size,
        "image_vocabulary_size": image_rows - 1,
        "num_encoder_layers": _count_layers(tensors, "encoder"),
        "num_decoder_layers": _count_layers(tensors, "decoder"),
        "num_heads": max(1, hidden_dim // HEAD_DIM),
        "hidden_dim": hidden_dim,
        "encoder_intermediate_dim": _matrix(tensors, first_layers["encoder"])[0],
        "decoder_intermediate_dim": _matrix(tensors, first_layers["decoder"])[0],
        "max_text_length": _matrix(tensors, "encoder.embed_positions.weight")[0],
        "image_length": _matrix(tensors, "decoder.embed_positions.weight")[0],
        "decoder_start_token_id": min(image_rows - 1, CODEBOOK_SIZE),
    }


def _matrix(tensors: Mapping[str, StoredTensor], name: str) -> tuple[int, int]:
    shape = tensors[name].shape if name in tensors else None
    if shape is None or len(shape) != 2:
        received = f"the shape {shortened(shape)}" if shape else "no such tensor"
        raise ValueError(
            f"min-dalle's {' and '.join(FILES.values())} must hold the matrix {name}. "
            f"Received: {received}."
        )
    return shape


def _count_layers(tensors: Mapping[str, StoredTensor], side: str) -> int:
    matches = (re.match(rf"{side}\.layers\.(\d+)\.", name) for name in tensors)
    return len({match[1] for match in matches if match})


# === Folders ===


def is_min_dalle(directory: Path) -> bool:
    """Whether a folder holds min-dalle's two files."""
    return all((directory / name).exists() for name in FILES.values())


def open_min_dalle(directory: str | os.PathLike) -> dict[str, StoredTensor]:
    """Indexes encoder.pt and decoder.pt.

    Returns:
        Name -> tensor; names start with "encoder." or "decoder.".

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or no dictionary of tensors.
    """
    require_files(directory, list(FILES.values()), "min-dalle")
    return {
        f"{side}.{name}": tensor
        for side, file in FILES.items()
        for name, tensor in open_torch_checkpoint(Path(directory) / file).items()
    }


def load_min_dalle(
    directory: str | os.PathLike,
    load_weights: bool = True,
    notes: list[str] | None = None,
    on_assigned: Callable[[str], None] | None = None,
    **kwargs: Any,
) -> DalleBartBackbone:
    """Loads min-dalle's folder, such as `pretrained/dalle_bart_mega`.

    Args:
        directory: holds encoder.pt and decoder.pt.
        load_weights: whether to read the weights.
        notes: gets a sentence on what the files do not tell.
        on_assigned: called with each tensor's name when it has been assigned.
        **kwargs: override arguments of `DalleBartBackbone`. Other sizes than the
            released ones may need `num_heads` and `decoder_start_token_id`.

    Raises:
        FileNotFoundError: one of the two files is missing.
        ValueError: a file is damaged, or tensors are missing, unexpected or misshapen.
    """
    tensors = open_min_dalle(directory)
    config = {**config_from_tensors(tensors), **kwargs}
    check_dalle_bart(config, tensors, os.fspath(directory), derived=True)
    with deferred_variables():
        backbone = DalleBartBackbone(**config)
        if load_weights:
            assign_weights(
                backbone,
                tensors,
                min_dalle_table(backbone),
                source=os.fspath(directory),
                on_assigned=on_assigned,
            )
    if notes is not None:
        notes.append(
            "min-dalle's files hold no configuration: sizes are those of the tensors, "
            f"num_heads={backbone.num_heads} and decoder_start_token_id="
            f"{backbone.decoder_start_token_id} those of the released models."
        )
    return backbone


def save_min_dalle(backbone: DalleBartBackbone, directory: str | os.PathLike) -> None:
    """Writes encoder.pt and decoder.pt as min-dalle's modules load them.

    The tensors keep the dtype of the backbone's variables; the published files are
    float16.

    Args:
        backbone: of the released architecture.
        directory: an existing folder.

    Raises:
        ValueError: the backbone is of another architecture.
    """
    tensors = model_tensors(backbone, min_dalle_table(backbone))
    for side, file in FILES.items():
        prefix = f"{side}."
        part = {
            name.removeprefix(prefix): tensor
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }
        write_torch_checkpoint(Path(directory) / file, part)
