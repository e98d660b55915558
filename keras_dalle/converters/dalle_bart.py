"""Reads DALL·E mini and Mega checkpoints as they were published.

A checkpoint directory holds `config.json` and `flax_model.msgpack`. Layers may be
stacked along a leading axis (the original's `use_scan`) or stored one by one.
"""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_dalle.converters.flax import Rule, assign_weights, read_flax_msgpack
from keras_dalle.models.dalle_bart.dalle_bart_backbone import DalleBartBackbone
from keras_dalle.utils.files import read_json, require_files

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "flax_model.msgpack"

# === Configuration ===

# The original's field -> our argument.
_ARGUMENTS = {
    "encoder_vocab_size": "vocabulary_size",
    "image_vocab_size": "image_vocabulary_size",
    "encoder_layers": "num_encoder_layers",
    "decoder_layers": "num_decoder_layers",
    "encoder_attention_heads": "num_heads",
    "d_model": "hidden_dim",
    "encoder_ffn_dim": "encoder_intermediate_dim",
    "decoder_ffn_dim": "decoder_intermediate_dim",
    "max_text_length": "max_text_length",
    "image_length": "image_length",
    "decoder_start_token_id": "decoder_start_token_id",
    "dropout": "dropout",
    "init_std": "init_std",
}

# Flags that choose a variant of the model: the values that are supported, which
# are also the original's defaults.
_SUPPORTED = {
    "activation_dropout": (0.0,),
    "activation_function": ("gelu",),
    "force_ln_scale": (False,),
    "is_encoder_decoder": (True,),
    "ln_positions": ("normformer",),
    "ln_type": ("layernorm",),
    "model_type": ("dallebart",),
    "scale_embedding": (False,),
    "sinkhorn_iters": (1,),
    "tie_word_embeddings": (False,),
    "use_absolute_position_embeddings": (True,),
    "use_alibi": (False,),
    "use_bias": (False,),
    "use_cosine_attention": (False,),
    "use_deepnet_scaling": (False,),
    "use_final_ln_decoder": (True,),
    "use_final_ln_encoder": (True,),
    "use_glu": (True,),
    "use_head_scale": (False,),
    "use_subln_init": (False,),
    "use_swin_position_embeddings": (False,),
}

# Fields without an effect on the network: bookkeeping, defaults of the original's
# generation, memory saving, the initial value of a constant of cosine attention,
# and a dropout that never acts in the original (its flag is not forwarded).
_WITHOUT_EFFECT = {
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "bos_token_id",
    "do_sample",
    "dtype",
    "eos_token_id",
    "gradient_checkpointing",
    "max_length",
    "min_length",
    "normalize_text",
    "pad_token_id",
    "tau_init",
    "torch_dtype",
    "transformers_version",
    "use_cache",
    "use_scan",
}


def config_from_original(config: Mapping[str, Any]) -> dict[str, Any]:
    """Translates an original `config.json` to arguments of `DalleBartBackbone`.

    Args:
        config: the parsed file.

    Returns:
        Keyword arguments.

    Raises:
        ValueError: a field is missing or unknown, or a flag has a value that the
            released models do not have.
    """
    _check_fields(config)
    for flag, supported in _SUPPORTED.items():
        value = config.get(flag, supported[0])
        if value not in supported:
            raise ValueError(
                f"`{flag}` must be one of {list(supported)}, as in the released "
                f"DALL·E mini and Mega. Received: {flag}={value!r}"
            )
    heads = config["encoder_attention_heads"], config["decoder_attention_heads"]
    if heads[0] != heads[1]:
        raise ValueError(
            "`encoder_attention_heads` and `decoder_attention_heads` must be equal. "
            f"Received: {heads[0]} and {heads[1]}"
        )
    return {ours: config[theirs] for theirs, ours in _ARGUMENTS.items()}


def _check_fields(config: Mapping[str, Any]) -> None:
    required = {*_ARGUMENTS, "decoder_attention_heads"}
    missing = sorted(required - set(config))
    if missing:
        raise ValueError(
            f"A DALL·E mini configuration must have the fields {missing}. "
            f"Received: {sorted(config)}"
        )
    known = required | set(_SUPPORTED) | _WITHOUT_EFFECT
    for field in config:
        if field not in known:
            nearest = difflib.get_close_matches(field, known, n=1)
            hint = f" Did you mean `{nearest[0]}`?" if nearest else ""
            raise ValueError(
                f"Unknown field `{field}` (={config[field]!r}) in the configuration."
                f"{hint} Remove it if it has no effect on the network."
            )


# === Weights ===

# The parts of a layer, ours -> the original's. Its norms are numbered in order of
# use; in its gated unit Dense_0 is the gate, Dense_1 the value, Dense_2 the output.
_LAYER_PARTS = {
    "self_attention_input_norm/beta": "LayerNorm_0/bias",
    "self_attention/query/kernel": "FlaxBartAttention_0/q_proj/kernel",
    "self_attention/key/kernel": "FlaxBartAttention_0/k_proj/kernel",
    "self_attention/value/kernel": "FlaxBartAttention_0/v_proj/kernel",
    "self_attention/attention_output/kernel": "FlaxBartAttention_0/out_proj/kernel",
    "self_attention_output_norm/gamma": "LayerNorm_1/scale",
    "self_attention_output_norm/beta": "LayerNorm_1/bias",
    "cross_attention_input_norm/beta": "LayerNorm_2/bias",
    "cross_attention/query/kernel": "FlaxBartAttention_1/q_proj/kernel",
    "cross_attention/key/kernel": "FlaxBartAttention_1/k_proj/kernel",
    "cross_attention/value/kernel": "FlaxBartAttention_1/v_proj/kernel",
    "cross_attention/attention_output/kernel": "FlaxBartAttention_1/out_proj/kernel",
    "cross_attention_output_norm/gamma": "LayerNorm_3/scale",
    "cross_attention_output_norm/beta": "LayerNorm_3/bias",
    "feed_forward/input_norm/beta": "GLU_0/LayerNorm_0/bias",
    "feed_forward/gate/kernel": "GLU_0/Dense_0/kernel",
    "feed_forward/value/kernel": "GLU_0/Dense_1/kernel",
    "feed_forward/inside_norm/beta": "GLU_0/LayerNorm_1/bias",
    "feed_forward/feed_forward_output/kernel": "GLU_0/Dense_2/kernel",
}


def _stack_rules(ours: str, theirs: str) -> list[Rule]:
    stack = f"model/{theirs}"
    layer = f"{stack}/layers/FlaxBart{theirs.capitalize()}Layer_"
    return [
        Rule(f"{ours}_token_embedding/embeddings", f"{stack}/embed_tokens/embedding"),
        Rule(
            f"{ours}_position_embedding/embeddings",
            f"{stack}/embed_positions/embedding",
        ),
        Rule(f"{ours}_embedding_norm/gamma", f"{stack}/layernorm_embedding/scale"),
        Rule(f"{ours}_embedding_norm/beta", f"{stack}/layernorm_embedding/bias"),
        *(
            Rule(rf"{theirs}_layer_(\d+)/{part}", rf"{layer}\1/{name}")
            for part, name in _LAYER_PARTS.items()
        ),
        Rule(f"{theirs}_final_norm/beta", f"{stack}/final_ln/bias"),
    ]


# Variable path of `DalleBartBackbone` -> tensor name, layers one by one.
DALLE_BART_TABLE = [
    *_stack_rules("text", "encoder"),
    *_stack_rules("image", "decoder"),
    Rule("image_head/kernel", "lm_head/kernel"),
]


def unstack_layers(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Gives the layers of a scanned checkpoint the names of an unscanned one.

    Args:
        weights: tensor name -> array.

    Returns:
        The same with `.../FlaxBartEncoderLayers/x` `[L, ...]` as the L views
        `.../FlaxBartEncoderLayer_0/x`, ...; the same for the decoder.
    """
    unstacked = {}
    for name, array in weights.items():
        prefix, stacked, part = re.split(r"(Layers/|$)", name, maxsplit=1)
        if not stacked:
            unstacked[name] = array
            continue
        for i, layer in enumerate(array):
            unstacked[f"{prefix}Layer_{i}/{part}"] = layer
    return unstacked


def load_dalle_bart(
    directory: str | os.PathLike, load_weights: bool = True, **kwargs: Any
) -> DalleBartBackbone:
    """Loads a checkpoint directory of the original DALL·E mini or Mega.

    Args:
        directory: holds `config.json` and `flax_model.msgpack`.
        load_weights: whether to read the weights.
        **kwargs: override arguments of `DalleBartBackbone`, e.g. `dtype`.

    Returns:
        The model with the checkpoint's weights.

    Raises:
        FileNotFoundError: one of the two files is missing.
        ValueError: a file is corrupt, the configuration is not one of the released
            models, or tensors are missing, unexpected or misshapen.
    """
    directory = Path(directory)
    require_files(directory, [CONFIG_FILE, WEIGHTS_FILE], "DALL·E mini checkpoint")
    config = config_from_original(read_json(directory / CONFIG_FILE))
    backbone = DalleBartBackbone(**{**config, **kwargs})
    if load_weights:
        path = directory / WEIGHTS_FILE
        weights = unstack_layers(read_flax_msgpack(path))
        assign_weights(backbone, weights, DALLE_BART_TABLE, source=str(path))
    return backbone
