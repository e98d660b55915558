"""Comparison of a configuration's sizes with its weights, before a model is built.

Both come from files. A model that is larger than its weights would cost minutes or all
memory before its first tensor is compared.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from keras_dalle.layers.variant import TransformerVariant
from keras_dalle.utils.foreign_values import shortened

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Axis:
    """Where a tensor shows a size.

    Attributes:
        tensor: its name.
        axis: of its shape.
        more: how much longer the axis is than the size.
    """

    tensor: str
    axis: int
    more: int = 0


@dataclass(frozen=True)
class Evidence:
    """Where a checkpoint's tensors show a model's sizes.

    Attributes:
        axes: argument -> axis.
        counts: argument -> pattern. The argument is the number of different first
            groups that the pattern matches at the beginning of tensors' names.
    """

    axes: Mapping[str, Axis]
    counts: Mapping[str, str] = field(default_factory=dict)


def check_sizes(
    arguments: Mapping[str, Any],
    shapes: Shapes,
    evidence: Evidence,
    parameters: int,
    source: str,
) -> None:
    """Raises unless a model of these arguments is as large as its weights.

    Args:
        arguments: the model's arguments by name; missing ones are not compared.
        shapes: the tensors' shapes by name.
        evidence: where they show the arguments.
        parameters: the smallest number of parameters that the model has.
        source: the weights, for the error's text.

    Raises:
        ValueError: names each size that differs, or what is missing.
    """
    faults = []
    for name, axis in evidence.axes.items():
        expected = arguments.get(name)
        shape = shapes.get(axis.tensor)
        if shape is None:
            faults.append(f"missing: {axis.tensor}, which shows `{name}`")
        elif axis.axis >= len(shape) or shape[axis.axis] - axis.more != expected:
            faults.append(
                f"`{name}`: expected {shortened(expected)}, received "
                f"{axis.tensor} of shape {shortened(shape)}"
            )
    for name, pattern in evidence.counts.items():
        found = len(_numbers(shapes, pattern))
        if found != arguments.get(name):
            faults.append(
                f"`{name}`: expected {shortened(arguments.get(name))}, received {found}"
            )
    stored = sum(map(_size, shapes.values()))
    if not faults and parameters > stored:
        faults.append(f"at least {parameters} numbers expected, received {stored}")
    if faults:
        lines = "\n  ".join(faults)
        raise ValueError(
            f"The weights of {source} must have the sizes of the configuration.\n"
            f"  {lines}\n  Check that the configuration belongs to these weights."
        )


def _numbers(names: Collection[str], pattern: str) -> set[str]:
    matches = map(re.compile(pattern).match, names)
    return {match[0] for match in matches if match}


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


# === The least number of parameters ===


def dalle_bart_parameters(arguments: Mapping[str, Any]) -> int:
    """Counts the embeddings', attention and feed-forward kernels of a DALL·E mini."""
    width = arguments["hidden_dim"]
    variant = TransformerVariant.of(arguments.get("variant"))
    kernels = 3 if variant.feed_forward == "glu" else 2
    rows = arguments["vocabulary_size"] + 2 * (arguments["image_vocabulary_size"] + 1)
    layers = 0
    for side, attentions in (("encoder", 1), ("decoder", 2)):
        inside = arguments[f"{side}_intermediate_dim"]
        layer = 4 * attentions * width**2 + kernels * width * inside
        layers += arguments[f"num_{side}_layers"] * layer
    return rows * width + layers


def vqgan_parameters(arguments: Mapping[str, Any]) -> int:
    """Counts the codebook, the layers around it and the blocks' second kernels."""
    has_encoder = arguments.get("quantizer", "nearest") is not None
    width, latents = arguments["embedding_dim"], arguments["latent_channels"]
    inner = arguments["base_channels"] * arguments["channel_multipliers"][-1]
    ends = (2 if has_encoder else 1) * latents * (width + 9 * inner)
    blocks = arguments["num_res_blocks"]
    per_level = blocks + 1 + (blocks if has_encoder else 0)
    levels = sum(
        per_level * 9 * (arguments["base_channels"] * multiplier) ** 2
        for multiplier in arguments["channel_multipliers"]
    )
    return arguments["codebook_size"] * width + ends + levels
