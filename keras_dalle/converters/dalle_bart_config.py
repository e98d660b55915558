"""DALL·E mini's `config.json` to arguments of `DalleBartBackbone` and back."""

from collections.abc import Mapping
from typing import Any

from keras_dalle.converters.config_fields import (
    check_fields,
    choice,
    integer,
    number,
)
from keras_dalle.layers.variant import TransformerVariant
from keras_dalle.utils.foreign_values import shortened

# The original's field -> our argument.
_REQUIRED = {
    "encoder_vocab_size": "vocabulary_size",
    "image_vocab_size": "image_vocabulary_size",
    "encoder_layers": "num_encoder_layers",
    "decoder_layers": "num_decoder_layers",
    "encoder_attention_heads": "num_heads",
    "decoder_attention_heads": "num_decoder_heads",
    "d_model": "hidden_dim",
    "encoder_ffn_dim": "encoder_intermediate_dim",
    "decoder_ffn_dim": "decoder_intermediate_dim",
}

# The same for fields that may be left out, with the original's defaults.
_OPTIONAL_LENGTHS = {
    "max_text_length": ("max_text_length", 64),
    "image_length": ("image_length", 256),
}
_OPTIONAL_NUMBERS = {
    "dropout": ("dropout", 0.1),
    "activation_dropout": ("activation_dropout", 0.0),
    "init_std": ("init_std", 0.02),
}
_OPTIONAL = {
    **_OPTIONAL_LENGTHS,
    **_OPTIONAL_NUMBERS,
    "decoder_start_token_id": ("decoder_start_token_id", None),
}

# The original's field -> our field of the variant, its default being ours.
_VARIANT = {
    "activation_function": "activation",
    "force_ln_scale": "scale_all_norms",
    "ln_positions": "norm_placement",
    "ln_type": "norm",
    "scale_embedding": "scale_embedding",
    "sinkhorn_iters": "sinkhorn_iterations",
    "use_absolute_position_embeddings": "absolute_positions",
    "use_bias": "use_bias",
    "use_deepnet_scaling": "deepnet_scaling",
    "use_final_ln_decoder": "final_decoder_norm",
    "use_final_ln_encoder": "final_encoder_norm",
    "use_head_scale": "head_scale",
    "use_subln_init": "subln_initialization",
    "use_swin_position_embeddings": "relative_position_bias",
}

# Fields that are read below, or by the preprocessor.
_READ = {
    "attention_dropout",
    "normalize_text",
    "tau_init",
    "use_cosine_attention",
    "use_glu",
    "use_scan",
}
_TAU = 0.05

# Fields that must have one value: the original refuses or never ran the others.
_FIXED = {
    "is_encoder_decoder": True,
    "model_type": "dallebart",
    "tie_word_embeddings": False,
    "use_alibi": False,
}

# Fields that do not change the network: bookkeeping, defaults of the original's
# generation, settings that only save memory, and fields of BART's and of transformers'
# base classes, which the original accepts and never reads.
_WITHOUT_EFFECT = {
    "_commit_hash",
    "_name_or_path",
    "add_cross_attention",
    "architectures",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "cross_attention_hidden_size",
    "decoder_layerdrop",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "encoder_layerdrop",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "force_bos_token_to_be_generated",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "id2label",
    "is_decoder",
    "label2id",
    "length_penalty",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "pad_token_id",
    "prefix",
    "problem_type",
    "pruned_heads",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "typical_p",
    "use_bfloat16",
    "use_cache",
}


def config_from_original(
    config: Mapping[str, Any], notes: list[str] | None = None
) -> dict[str, Any]:
    """Translates an original `config.json` to arguments of `DalleBartBackbone`.

    Args:
        config: the parsed file.
        notes: gets a sentence for each field that has no effect here.

    Returns:
        Keyword arguments.

    Raises:
        ValueError: a field is missing or unknown, or has a value that the original
            never ran with.
    """
    optional = {*_OPTIONAL, *_VARIANT, *_READ, *_FIXED}
    check_fields(config, _REQUIRED, optional, _WITHOUT_EFFECT, notes)
    for field, value in _FIXED.items():
        if config.get(field, value) != value:
            raise ValueError(
                f"`{field}` must be {value!r}: DALL·E mini never ran with another "
                "value, and keras_dalle does not either. Received: "
                f"{shortened(config[field])}."
            )
    if notes is not None:
        notes += _idle_choices(config)
    arguments: dict[str, Any] = {
        ours: integer(theirs, config[theirs]) for theirs, ours in _REQUIRED.items()
    }
    for theirs, (ours, length) in _OPTIONAL_LENGTHS.items():
        arguments[ours] = integer(theirs, config.get(theirs, length))
    for theirs, (ours, value) in _OPTIONAL_NUMBERS.items():
        arguments[ours] = number(theirs, config.get(theirs, value))
    arguments["decoder_start_token_id"] = _start_token(config)
    return {**arguments, "variant": _variant_of(config)}


def _idle_choices(config: Mapping[str, Any]) -> list[str]:
    """A sentence for each choice that another one leaves without effect."""
    sentences = []
    if config.get("attention_dropout"):
        sentences.append(
            f"attention_dropout={shortened(config['attention_dropout'])} never acts in "
            "the original, so it is 0 here; pass `attention_dropout` to train with it."
        )
    if "tau_init" in config and not config.get("use_cosine_attention"):
        sentences.append(
            f"tau_init={shortened(config['tau_init'])} has no effect without "
            "`use_cosine_attention`."
        )
    if config.get("use_subln_init") and config.get("use_deepnet_scaling"):
        sentences.append("use_subln_init has no effect with `use_deepnet_scaling`.")
    return sentences


def _start_token(config: Mapping[str, Any]) -> int:
    """The start token, which has a row in the embedding of codes + 1 rows."""
    last = config["image_vocab_size"]
    token_id = config.get("decoder_start_token_id")
    if token_id is None:
        return last
    if type(token_id) is not int or not 0 <= token_id <= last:
        raise ValueError(
            f"`decoder_start_token_id` must be an integer from 0 to `image_vocab_size` "
            f"(={last}). Received: {shortened(token_id)}."
        )
    return token_id


def _variant_of(config: Mapping[str, Any]) -> TransformerVariant:
    default = TransformerVariant()
    fields = {
        ours: choice(name, config[name], type(getattr(default, ours)))
        for name, ours in _VARIANT.items()
        if name in config
    }
    use_glu = choice("use_glu", config.get("use_glu", True), bool)
    fields["feed_forward"] = "glu" if use_glu else "ffn"
    if choice("use_cosine_attention", config.get("use_cosine_attention", False), bool):
        fields["cosine_attention_tau"] = number(
            "tau_init", config.get("tau_init", _TAU)
        )
    if fields.get("norm_placement") == "swinv2" and are_layers_stacked(config):
        raise ValueError(
            "`use_scan` must be False with `ln_positions` swinv2, whose layers are not "
            "all alike. Received: use_scan=True"
        )
    if is_post_norm(fields.get("norm_placement", "")):
        fields["scale_last_norm"] = are_layers_stacked(config)
    return TransformerVariant(**fields)


def is_post_norm(norm_placement: str) -> bool:
    """Whether the original calls this placement postln."""
    return norm_placement in ("postln", "deepnet")


def are_layers_stacked(config: Mapping[str, Any]) -> bool:
    """Whether an original of this configuration stores layers along a leading axis."""
    use_scan = config.get("use_scan")
    return config.get("ln_positions") != "swinv2" if use_scan is None else use_scan


def original_from_backbone(backbone: Any) -> dict[str, Any]:
    """The original's `config.json` for a `DalleBartBackbone`.

    Args:
        backbone: the model.

    Returns:
        All fields that describe the network, sorted by name. Layers are stacked where
        the original can; special ids are the original's defaults.
    """
    ours = backbone.get_config()
    variant = backbone.variant
    config = {theirs: ours[name] for theirs, name in _REQUIRED.items()}
    config |= {theirs: ours[name] for theirs, (name, _) in _OPTIONAL.items()}
    config |= {theirs: getattr(variant, name) for theirs, name in _VARIANT.items()}
    stacks = variant.norm_placement != "swinv2" and (
        variant.scale_last_norm or not is_post_norm(variant.norm_placement)
    )
    tau = variant.cosine_attention_tau
    config |= {
        **_FIXED,
        "architectures": ["DalleBart"],
        "attention_dropout": ours["attention_dropout"],
        "gradient_checkpointing": False,
        "tau_init": _TAU if tau is None else tau,
        "use_cosine_attention": tau is not None,
        "use_glu": variant.feed_forward == "glu",
        "use_scan": stacks,
    }
    for token in ("bos", "eos", "pad"):
        config[f"{token}_token_id"] = ours["image_vocabulary_size"]
    for bound in ("max", "min"):
        config[f"{bound}_length"] = ours["image_length"] + 1
    return dict(sorted(config.items()))
