"""Reads and writes DALL·E mini and Mega checkpoints as they were published.

A checkpoint directory holds `config.json` and `flax_model.msgpack`. Layers may be
stacked along a leading axis (the original's `use_scan`) or stored one by one.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_dalle.converters.dalle_bart_config import (
    are_layers_stacked,
    config_from_original,
    original_from_backbone,
)
from keras_dalle.converters.deferred import deferred_variables
from keras_dalle.converters.flax import (
    INDEX_SUFFIX,
    open_flax_msgpack,
    write_flax_msgpack,
)
from keras_dalle.converters.mapping import (
    Rule,
    Transform,
    assign_weights,
    model_tensors,
)
from keras_dalle.converters.sizes import check_dalle_bart
from keras_dalle.converters.tensors import StoredTensor, stack
from keras_dalle.models.dalle_bart.dalle_bart_backbone import DalleBartBackbone
from keras_dalle.utils.files import read_json, require_files
from keras_dalle.utils.foreign_values import naming

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "flax_model.msgpack"

# === Names ===

# flax numbers the layers of a class in their order of use. A norm without any weight
# (RMSNorm without a scale) is not in the tree, but has its number.
_NORM_CLASSES = {"layernorm": "LayerNorm", "rmsnorm": "RMSNorm"}
_NORM_LEAVES = {"gamma": "scale", "beta": "bias"}
_DENSE_LEAVES = ("kernel", "bias")

_PROJECTIONS = {
    "query": "q_proj",
    "key": "k_proj",
    "value": "v_proj",
    "attention_output": "out_proj",
}
# In the original's gated unit Dense_0 is the gate, Dense_1 the value, Dense_2 the
# output.
_FEED_FORWARD_BLOCKS = {
    "glu": ("GLU_0", ("gate", "value", "feed_forward_output")),
    "ffn": ("FFN_0", ("intermediate", "feed_forward_output")),
}
_HEAD_SCALE = Transform(
    load=lambda scale_11N1: scale_11N1.reshape(-1),
    save=lambda scale_N: scale_N.reshape(1, 1, -1, 1),
)


def dalle_bart_table(backbone: DalleBartBackbone) -> list[Rule]:
    """Rules from the variables of a backbone to the original's names.

    Args:
        backbone: its variant decides on the numbers of the norms.

    Returns:
        Rules for layers that are stored one by one.
    """
    return [
        *_stack_rules(backbone, "text", "encoder"),
        *_stack_rules(backbone, "image", "decoder"),
        Rule("image_head/kernel", "lm_head/kernel"),
    ]


def _stack_rules(backbone: DalleBartBackbone, ours: str, theirs: str) -> list[Rule]:
    stack_name = f"model/{theirs}"
    layer = rf"{stack_name}/layers/FlaxBart{theirs.capitalize()}Layer_\1"
    return [
        Rule(
            f"{ours}_token_embedding/embeddings", f"{stack_name}/embed_tokens/embedding"
        ),
        Rule(
            f"{ours}_position_embedding/embeddings",
            f"{stack_name}/embed_positions/embedding",
        ),
        *_norm_rules(f"{ours}_embedding_norm", f"{stack_name}/layernorm_embedding"),
        *_layer_rules(backbone, rf"{theirs}_layer_(\d+)", layer, theirs),
        *_norm_rules(f"{theirs}_final_norm", f"{stack_name}/final_ln"),
    ]


def _layer_rules(
    backbone: DalleBartBackbone, ours: str, theirs: str, side: str
) -> list[Rule]:
    placement = backbone.variant.placement
    attentions = {"encoder": ["self_attention"]}.get(
        side, ["self_attention", "cross_attention"]
    )
    before = getattr(placement, f"before_{side}_attention")
    norms = []
    for attention in attentions:
        norms += [
            (f"{attention}_input_norm", before),
            (f"{attention}_output_norm", placement.after_attention),
            (f"{attention}_sum_norm", placement.after_attention_sum),
        ]
    # Where there is a norm after a layer, it comes last.
    norms.append(("layer_norm", "any"))
    rules = _numbered_norm_rules(backbone, norms, ours, theirs)
    for i, attention in enumerate(attentions):
        rules += _attention_rules(
            f"{ours}/{attention}", f"{theirs}/FlaxBartAttention_{i}"
        )
    return rules + _feed_forward_rules(backbone, ours, theirs)


def _attention_rules(ours: str, theirs: str) -> list[Rule]:
    return [
        *(
            Rule(f"{ours}/{part}/{leaf}", f"{theirs}/{name}/{leaf}")
            for part, name in _PROJECTIONS.items()
            for leaf in _DENSE_LEAVES
        ),
        *_norm_rules(f"{ours}/heads_norm", f"{theirs}/mid_layernorm"),
        Rule(f"{ours}/head_factors/scale", f"{theirs}/head_scale", _HEAD_SCALE),
        Rule(f"{ours}/position_bias/embeddings", f"{theirs}/rel_bias/embedding"),
    ]


def _feed_forward_rules(
    backbone: DalleBartBackbone, ours: str, theirs: str
) -> list[Rule]:
    placement = backbone.variant.placement
    block, dense_layers = _FEED_FORWARD_BLOCKS[backbone.variant.feed_forward]
    ours, theirs = f"{ours}/feed_forward", f"{theirs}/{block}"
    norms = [
        ("input_norm", placement.before_feed_forward),
        ("inside_norm", placement.inside_feed_forward),
        ("output_norm", placement.after_feed_forward),
    ]
    return _numbered_norm_rules(backbone, norms, ours, theirs) + [
        Rule(f"{ours}/{part}/{leaf}", f"{theirs}/Dense_{i}/{leaf}")
        for i, part in enumerate(dense_layers)
        for leaf in _DENSE_LEAVES
    ]


def _numbered_norm_rules(
    backbone: DalleBartBackbone,
    norms: list[tuple[str, str | None]],
    ours: str,
    theirs: str,
) -> list[Rule]:
    norm_class = _NORM_CLASSES[backbone.variant.norm]
    present = [name for name, kind in norms if kind is not None]
    return [
        rule
        for i, name in enumerate(present)
        for rule in _norm_rules(f"{ours}/{name}", f"{theirs}/{norm_class}_{i}")
    ]


def _norm_rules(ours: str, theirs: str) -> list[Rule]:
    return [
        Rule(f"{ours}/{mine}", f"{theirs}/{name}")
        for mine, name in _NORM_LEAVES.items()
    ]


# === Stacked layers ===

_STACKED = re.compile(r"(.*)Layers/(.*)")
# Above it, a first axis is not one of layers.
_MAX_LAYERS = 1000
_MAX_TENSORS = 20_000
_ONE_BY_ONE = re.compile(r"(.*)Layer_(\d+)/(.*)")


def unstack_layers(
    tensors: Mapping[str, StoredTensor | np.ndarray],
) -> dict[str, StoredTensor]:
    """Gives the layers of a scanned checkpoint the names of an unscanned one.

    Args:
        tensors: tensor name -> tensor.

    Returns:
        The same with `.../FlaxBartEncoderLayers/x` `[L, ...]` as the L tensors
        `.../FlaxBartEncoderLayer_0/x`, ...; the same for the decoder.
    """
    unstacked = {}
    if len(tensors) > _MAX_TENSORS:
        raise ValueError(
            f"A checkpoint of stacked layers must have at most {_MAX_TENSORS} tensors. "
            f"Received: {len(tensors)}."
        )
    for name, tensor in tensors.items():
        stored = StoredTensor.of(tensor) if isinstance(tensor, np.ndarray) else tensor
        match = _STACKED.fullmatch(name)
        if not match or not stored.shape or stored.shape[0] > _MAX_LAYERS:
            unstacked[name] = stored
            continue
        for i in range(stored.shape[0]):
            unstacked[f"{match[1]}Layer_{i}/{match[2]}"] = stored.layer(i)
    return unstacked


def stack_layers(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The inverse of `unstack_layers`."""
    stacked: dict[str, StoredTensor] = {}
    layers: dict[str, dict[int, StoredTensor]] = {}
    for name, tensor in tensors.items():
        match = _ONE_BY_ONE.fullmatch(name)
        if match:
            stacked_name = f"{match[1]}Layers/{match[3]}"
            layers.setdefault(stacked_name, {})[int(match[2])] = tensor
        else:
            stacked[name] = tensor
    for name, numbered in layers.items():
        stacked[name] = stack([numbered[i] for i in sorted(numbered)])
    return stacked


# === Folders ===


def load_dalle_bart(
    directory: str | os.PathLike,
    load_weights: bool = True,
    notes: list[str] | None = None,
    on_assigned: Callable[[str], None] | None = None,
    **kwargs: Any,
) -> DalleBartBackbone:
    """Loads a checkpoint directory of the original DALL·E mini or Mega.

    Args:
        directory: holds `config.json` and `flax_model.msgpack`.
        load_weights: whether to read the weights.
        notes: gets a sentence for each field that has no effect.
        on_assigned: called with each tensor's name when it has been assigned.
        **kwargs: override arguments of `DalleBartBackbone`, e.g. `dtype`.

    Returns:
        The model with the checkpoint's weights.

    Raises:
        FileNotFoundError: one of the two files is missing.
        ValueError: a file is corrupt, the configuration is not one that the original
            runs, or tensors are missing, unexpected or misshapen.
    """
    directory = Path(directory)
    is_sharded = (directory / f"{WEIGHTS_FILE}{INDEX_SUFFIX}").exists()
    needs_file = load_weights and not is_sharded
    files = [CONFIG_FILE, WEIGHTS_FILE] if needs_file else [CONFIG_FILE]
    require_files(directory, files, "DALL·E mini checkpoint")
    original = read_json(directory / CONFIG_FILE)
    with naming(directory / CONFIG_FILE):
        config = {**config_from_original(original, notes), **kwargs}
    tensors: dict[str, StoredTensor] = {}
    if load_weights:
        tensors = unstack_layers(open_flax_msgpack(directory / WEIGHTS_FILE))
    check_dalle_bart(config, tensors, os.fspath(directory))
    with deferred_variables():
        backbone = DalleBartBackbone(**config)
        if load_weights:
            assign_weights(
                backbone,
                tensors,
                dalle_bart_table(backbone),
                source=os.fspath(directory),
                on_assigned=on_assigned,
            )
    return backbone


def save_dalle_bart(
    backbone: DalleBartBackbone,
    directory: str | os.PathLike,
    original_config: Mapping[str, Any] | None = None,
) -> None:
    """Writes `config.json` and `flax_model.msgpack` as the original has them.

    Args:
        backbone: the model.
        directory: an existing folder.
        original_config: the configuration that the model came with, which is written
            again; `None` makes one from the model.
    """
    config = original_config or original_from_backbone(backbone)
    tensors = model_tensors(backbone, dalle_bart_table(backbone))
    if are_layers_stacked(config):
        tensors = stack_layers(tensors)
    write_flax_msgpack(Path(directory) / WEIGHTS_FILE, tensors)
    text = json.dumps(config, indent=2) + "\n"
    (Path(directory) / CONFIG_FILE).write_text(text, encoding="utf-8")
