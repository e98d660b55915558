"""Rules for the values in configurations from files.

A model's constructor accepts any value. A file may come from a stranger, and a large
number in it costs minutes or all memory before anything else can fail.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from keras_dalle.layers.variant import TransformerVariant
from keras_dalle.utils.foreign_values import described, shortened

# Limits above the largest known models. DALL·E Mega has 24 layers in the encoder and
# 24 in the decoder, width 2048, 4096 inside. VQGANs have up to 5 levels, 16,384 codes.
_VOCABULARY, _WIDTH, _LENGTH, _LAYERS = 2**24, 2**16, 2**16, 256


class Rule:
    """One argument's rule: in words, and as a test."""

    def __init__(self, words: str, holds: Callable[[Any], bool]):
        self.words = words
        self.holds = holds


def _integer(low: int, high: int) -> Rule:
    return Rule(
        f"an integer from {low} to {high}",
        lambda x: type(x) is int and low <= x <= high,
    )


def _number(low: float, high: float, words: str) -> Rule:
    return Rule(
        words, lambda x: type(x) in (int, float) and low <= x <= high and _is_finite(x)
    )


def _is_finite(x: float) -> bool:
    return isinstance(x, int) or math.isfinite(x)


def _or_none(rule: Rule) -> Rule:
    return Rule(f"{rule.words}, or null", lambda x: x is None or rule.holds(x))


def _of_type(kind: type) -> Rule:
    return Rule(f"a {kind.__name__}", lambda x: type(x) is kind)


def _list_of(rule: Rule, most: int, least: int = 0) -> Rule:
    return Rule(
        f"a list of {least} to {most} entries, each {rule.words}",
        lambda x: (
            isinstance(x, list | tuple)
            and least <= len(x) <= most
            and all(map(rule.holds, x))
        ),
    )


_RATE = _number(0.0, 0.999, "a number from 0 to 0.999")
_WEIGHT = _number(0.0, 1e6, "a number from 0 to 1e6")
_SIZE = _integer(1, _WIDTH)
_COUNT = _integer(1, _LAYERS)

DALLE_BART_RULES = {
    "vocabulary_size": _integer(1, _VOCABULARY),
    "image_vocabulary_size": _integer(1, _VOCABULARY),
    "num_encoder_layers": _COUNT,
    "num_decoder_layers": _COUNT,
    "num_heads": _SIZE,
    "hidden_dim": _SIZE,
    "encoder_intermediate_dim": _integer(1, 8 * _WIDTH),
    "decoder_intermediate_dim": _integer(1, 8 * _WIDTH),
    "max_text_length": _integer(1, _LENGTH),
    "image_length": _integer(1, _LENGTH),
    "decoder_start_token_id": _or_none(_integer(0, _VOCABULARY)),
    "dropout": _RATE,
    "attention_dropout": _RATE,
    "activation_dropout": _RATE,
    "init_std": _WEIGHT,
    "num_decoder_heads": _or_none(_SIZE),
}
VQGAN_RULES = {
    "image_size": _integer(1, 2**13),
    "base_channels": _integer(1, 2**14),
    "channel_multipliers": _list_of(_integer(1, 2**10), 12, least=1),
    "num_res_blocks": _integer(1, 64),
    "attention_resolutions": _list_of(_integer(1, 2**13), 16),
    "latent_channels": _SIZE,
    "embedding_dim": _SIZE,
    "codebook_size": _integer(1, _VOCABULARY),
    "quantizer": Rule(
        "nearest, gumbel or null", lambda x: x in ("nearest", "gumbel", None)
    ),
    "commitment_weight": _WEIGHT,
    "kl_weight": _WEIGHT,
    "patch_size": _integer(1, 2**8),
    "value_range": _list_of(_number(-1e6, 1e6, "a number"), 2, least=2),
    "dropout": _RATE,
}
_VARIANT_NUMBERS = {
    "sinkhorn_iterations": _integer(1, 64),
    "cosine_attention_tau": _or_none(_number(1e-9, 1e6, "a number above 0")),
}


def check_arguments(
    arguments: Mapping[str, Any], rules: Mapping[str, Rule], source: str
) -> None:
    """Raises unless each argument that a file gives keeps its rule.

    Args:
        arguments: by name; those without a rule are not looked at.
        rules: by name.
        source: the file, for the error's text.

    Raises:
        ValueError: names the argument, its rule and its value.
    """
    for name, value in arguments.items():
        if name in rules and not rules[name].holds(value):
            raise ValueError(
                f"`{name}` must be {rules[name].words}. Received: {shortened(value)} "
                f"in {source}. Take the file anew from where it was published."
            )


def check_dalle_bart_arguments(arguments: Mapping[str, Any], source: str) -> None:
    """Raises unless a file's arguments may be those of a `DalleBartBackbone`.

    Raises:
        ValueError: names the argument, its rule and its value.
    """
    check_arguments(arguments, DALLE_BART_RULES, source)
    width = arguments.get("hidden_dim")
    for name in ("num_heads", "num_decoder_heads"):
        heads = arguments.get(name)
        if width and heads and width % heads:
            raise ValueError(
                f"`hidden_dim` (={width}) must be divisible by `{name}` (={heads}) in "
                f"{source}."
            )
    variant = arguments.get("variant")
    if variant is not None and not isinstance(variant, TransformerVariant):
        _check_variant(variant, source)
    elif variant is not None:
        check_arguments(variant.fields(), _VARIANT_NUMBERS, source)


def _check_variant(variant: Any, source: str) -> None:
    if not isinstance(variant, Mapping):
        raise ValueError(
            f"`variant` must be an object in {source}. Received: {shortened(variant)}."
        )
    known = TransformerVariant().fields()
    rules = {name: _of_type(type(x)) for name, x in known.items()}
    unknown = sorted(set(variant) - set(known))
    if unknown:
        raise ValueError(
            f"`variant` must have the fields {', '.join(known)} alone in {source}. "
            f"Received: {shortened(unknown)}."
        )
    check_arguments(variant, rules | _VARIANT_NUMBERS, source)
    try:
        TransformerVariant(**variant)
    except ValueError as error:
        raise ValueError(f"{source}: {described(error)}") from error


def check_vqgan_arguments(arguments: Mapping[str, Any], source: str) -> None:
    """Raises unless a file's arguments may be those of a `VQGANBackbone`.

    Raises:
        ValueError: names the argument, its rule and its value.
    """
    check_arguments(arguments, VQGAN_RULES, source)
    low, high = arguments.get("value_range", (-1.0, 1.0))
    if not low < high:
        raise ValueError(
            f"`value_range` must be black and then white. Received: {low}, {high} in "
            f"{source}."
        )
