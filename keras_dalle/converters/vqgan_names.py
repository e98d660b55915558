"""Names of a VQGAN's tensors: our variables to vqgan-jax's and to PyTorch's.

Both originals have one tree: encoder and decoder, levels and blocks in them, sublayers
in those. They spell it in different ways.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from keras_dalle.converters.mapping import SAME, Rule, Transform

# H height, W width, I input channels, O output channels

TORCH_CONVOLUTION = Transform(
    load=lambda kernel_OIHW: np.transpose(kernel_OIHW, (2, 3, 1, 0)),
    save=lambda kernel_HWIO: np.transpose(kernel_HWIO, (3, 2, 0, 1)),
)


@dataclass(frozen=True)
class Spelling:
    """How an original writes the tree.

    Attributes:
        places: pattern of the beginning of our path -> template of theirs.
        leaves: our last part -> theirs, with its layout.
    """

    places: Mapping[str, str]
    leaves: Mapping[str, tuple[str, Transform]]


_SIDE = "(encoder|decoder)"
_IN_LEVEL = rf"{_SIDE}_(down|up)_(\d+)_(block|attn)_(\d+)/"
_IN_MIDDLE = rf"{_SIDE}_mid_(block|attn)_(\d+)/"
_BETWEEN_LEVELS = rf"{_SIDE}_(down|up)_(\d+)_(downsample|upsample)/"
_AT_THE_ENDS = rf"{_SIDE}_(?=conv_in|conv_out|norm_out)"
_AT_THE_CODES = "(?=quant_conv|post_quant_conv)"

_FLAX = Spelling(
    places={
        _IN_LEVEL: r"\1/\2_\3/\4_\5/",
        _IN_MIDDLE: r"\1/mid/\2_\3/",
        _BETWEEN_LEVELS: r"\1/\2_\3/\4/",
        _AT_THE_ENDS: r"\1/",
        _AT_THE_CODES: "",
    },
    leaves={
        "kernel": ("/kernel", SAME),
        "gamma": ("/scale", SAME),
        "bias": ("/bias", SAME),
        "beta": ("/bias", SAME),
    },
)
_TORCH = Spelling(
    places={
        _IN_LEVEL: r"\1.\2.\3.\4.\5.",
        _IN_MIDDLE: r"\1.mid.\2_\3.",
        _BETWEEN_LEVELS: r"\1.\2.\3.\4.",
        _AT_THE_ENDS: r"\1.",
        _AT_THE_CODES: "",
    },
    leaves={
        "kernel": (".weight", TORCH_CONVOLUTION),
        "gamma": (".weight", SAME),
        "bias": (".bias", SAME),
        "beta": (".bias", SAME),
    },
)

# Sublayers that have other names here; the rest has the original's.
_SUBLAYERS = {
    "shortcut": "nin_shortcut",
    "query": "q",
    "key": "k",
    "value": "v",
    "attention_output": "proj_out",
    r"(?P<same>\w+)": r"\g<same>",
}


def _tree_rules(spelling: Spelling) -> list[Rule]:
    """Rules for all of a `VQGANBackbone` but its quantizer."""
    return [
        Rule(place + sublayer + "/" + leaf, prefix + theirs + end, transform)
        for place, prefix in spelling.places.items()
        for sublayer, theirs in _SUBLAYERS.items()
        for leaf, (end, transform) in spelling.leaves.items()
    ]


FLAX_TABLE = [
    *_tree_rules(_FLAX),
    Rule("quantizer/codebook", "quantize/embedding/embedding"),
]

# The codebook's name tells VQModel from GumbelVQ.
VQMODEL_TABLE = [
    *_tree_rules(_TORCH),
    Rule("quantizer/codebook", "quantize.embedding.weight"),
]
GUMBEL_TABLE = [
    *_tree_rules(_TORCH),
    Rule("quantizer/codebook", "quantize.embed.weight"),
    Rule("quantizer/projection/kernel", "quantize.proj.weight", TORCH_CONVOLUTION),
    Rule("quantizer/projection/bias", "quantize.proj.bias"),
]
MIN_DALLE_TABLE = [
    *_tree_rules(_TORCH),
    Rule("quantizer/codebook", "embedding.weight"),
]


def largest_number(names: Iterable[str], pattern: str) -> int:
    """The largest number in names that begin with a pattern; 0 if there is none.

    Args:
        names: of a checkpoint's tensors.
        pattern: regular expression with one group, the number.
    """
    found = map(re.compile(pattern).match, names)
    return max((int(match[1]) for match in found if match), default=0)
