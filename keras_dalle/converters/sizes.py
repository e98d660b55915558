"""An original's configuration against its tensors' shapes, before a model is built."""

from collections.abc import Mapping
from typing import Any

from keras_dalle.converters.tensors import StoredTensor
from keras_dalle.layers.variant import TransformerVariant
from keras_dalle.models.foreign_config import (
    check_dalle_bart_arguments,
    check_vqgan_arguments,
)
from keras_dalle.models.weight_sizes import (
    Axis,
    Evidence,
    check_sizes,
    dalle_bart_parameters,
    vqgan_parameters,
)

Tensors = Mapping[str, StoredTensor]

# The same sizes in the names of vqgan-jax and of taming-transformers.
FLAX_VQGAN = Evidence(
    {
        "codebook_size": Axis("quantize/embedding/embedding", 0),
        "embedding_dim": Axis("quantize/embedding/embedding", 1),
    },
    {"residual blocks": r"(en|de)coder/((down|up)_\d+|mid)/block_\d+/"},
)
_TORCH_BLOCKS = {
    "residual blocks": r"(en|de)coder\.((down|up)\.\d+\.block\.|mid\.block_)\d+\."
}
MIN_DALLE_VQGAN = Evidence({}, _TORCH_BLOCKS)


def torch_vqgan(codebook: str) -> Evidence:
    """Returns where taming-transformers' tensors show the sizes.

    Args:
        codebook: the name of the codebook.
    """
    axes = {
        "codebook_size": Axis(codebook, 0),
        "embedding_dim": Axis(codebook, 1),
    }
    return Evidence(axes, _TORCH_BLOCKS)


def check_dalle_bart(
    arguments: Mapping[str, Any], tensors: Tensors, source: str, derived: bool = False
) -> None:
    """Raises unless a `DalleBartBackbone` is as large as its weights.

    Args:
        arguments: of the backbone.
        tensors: the original's tensors by layer; none if they are not read.
        source: where both come from, for the error's text.
        derived: whether the sizes were taken from the tensors.

    Raises:
        ValueError: an argument breaks its rule, or the weights show another size;
            names them.
    """
    check_dalle_bart_arguments(arguments, source)
    if not tensors:
        return
    variant = TransformerVariant.of(arguments.get("variant"))
    check_sizes(
        arguments,
        {name: tensor.shape for name, tensor in tensors.items()},
        Evidence({}) if derived else _dalle_bart(variant),
        dalle_bart_parameters(arguments),
        source,
    )


def _dalle_bart(variant: TransformerVariant) -> Evidence:
    block = "GLU_0" if variant.feed_forward == "glu" else "FFN_0"
    axes = {}
    counts = {}
    for side, ours, length, more in (
        ("encoder", "", "max_text_length", 0),
        ("decoder", "image_", "image_length", 1),
    ):
        tokens = f"model/{side}/embed_tokens/embedding"
        layer = f"model/{side}/layers/FlaxBart{side.capitalize()}Layer_"
        axes[f"{ours}vocabulary_size"] = Axis(tokens, 0, more)
        axes["hidden_dim"] = Axis(tokens, 1)
        axes[f"{side}_intermediate_dim"] = Axis(f"{layer}0/{block}/Dense_0/kernel", 1)
        if variant.absolute_positions:
            axes[length] = Axis(f"model/{side}/embed_positions/embedding", 0)
        counts[f"num_{side}_layers"] = rf"{layer}\d+/"
    return Evidence(axes, counts)


def check_vqgan(
    arguments: Mapping[str, Any], tensors: Tensors, evidence: Evidence, source: str
) -> None:
    """Raises unless a `VQGANBackbone` is as large as its weights.

    Args:
        arguments: of the backbone.
        tensors: the original's tensors; none if they are not read.
        evidence: where they show the sizes.
        source: where both come from, for the error's text.

    Raises:
        ValueError: an argument breaks its rule, or the weights show another size;
            names them.
    """
    check_vqgan_arguments(arguments, source)
    if not tensors:
        return
    levels = len(arguments["channel_multipliers"])
    blocks = arguments["num_res_blocks"]
    all_blocks = levels * (blocks + 1) + 2
    if arguments.get("quantizer", "nearest") is not None:
        all_blocks += levels * blocks + 2
    check_sizes(
        {**arguments, "residual blocks": all_blocks},
        {name: tensor.shape for name, tensor in tensors.items()},
        evidence,
        vqgan_parameters(arguments),
        source,
    )
