"""Comparison of a preset's configuration with the sizes in Keras's weight files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
from keras import ops

from keras_dalle.layers.variant import TransformerVariant
from keras_dalle.models.weight_sizes import (
    Axis,
    Evidence,
    check_sizes,
    dalle_bart_parameters,
    vqgan_parameters,
)
from keras_dalle.utils.hdf5_shapes import weight_shapes


def check_dalle_bart_weights(config: Mapping[str, Any], path: Path) -> None:
    """Raises unless a `DalleBartBackbone` of this configuration fits its weights.

    Args:
        config: all arguments, each within its rule.
        path: a `.weights.h5`, or the `.json` that names the shards.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or shows other sizes; names them.
    """
    axes = {
        "vocabulary_size": Axis("layers/embedding/vars/0", 0),
        "hidden_dim": Axis("layers/embedding/vars/0", 1),
        "image_vocabulary_size": Axis("layers/embedding_1/vars/0", 0, more=1),
        "encoder_intermediate_dim": _feed_forward("text_encoder_layer"),
        "decoder_intermediate_dim": _feed_forward("image_decoder_layer"),
    }
    if TransformerVariant.of(config.get("variant")).absolute_positions:
        axes |= {
            "max_text_length": Axis("layers/position_embedding/vars/0", 0),
            "image_length": Axis("layers/position_embedding_1/vars/0", 0),
        }
    counts = {
        "num_encoder_layers": r"layers/text_encoder_layer(_\d+)?/",
        "num_decoder_layers": r"layers/image_decoder_layer(_\d+)?/",
    }
    check_sizes(
        config,
        weight_shapes(path),
        Evidence(axes, counts),
        dalle_bart_parameters(config),
        str(path),
    )


def _feed_forward(layer: str) -> Axis:
    return Axis(f"layers/{layer}/feed_forward/feed_forward_output/vars/0", 0)


def check_vqgan_weights(config: Mapping[str, Any], path: Path) -> None:
    """Raises unless a `VQGANBackbone` of this configuration fits its weights.

    See `check_dalle_bart_weights` for arguments and errors.
    """
    quantizer = _QUANTIZERS[config["quantizer"]]
    levels, blocks = len(config["channel_multipliers"]), config["num_res_blocks"]
    all_blocks = levels * (blocks + 1) + 2
    first = Axis("layers/conv2d/vars/0", 3)
    axes = {
        "codebook_size": Axis(f"layers/{quantizer}/vars/0", 0),
        "embedding_dim": Axis(f"layers/{quantizer}/vars/0", 1),
    }
    if config["quantizer"] is None:
        axes["latent_channels"] = first
    else:
        axes["base_channels"] = first
        all_blocks += levels * blocks + 2
    check_sizes(
        {**config, "residual blocks": all_blocks},
        weight_shapes(path),
        Evidence(axes, {"residual blocks": r"layers/residual_block(_\d+)?/"}),
        vqgan_parameters(config),
        str(path),
    )


_QUANTIZERS = {
    "nearest": "vector_quantizer",
    "gumbel": "gumbel_quantizer",
    None: "codebook",
}


def require_finite(model: Any, source: str) -> None:
    """Raises unless all weights of a loaded model are numbers.

    Raises:
        ValueError: names the first with NaN or an infinity in it.
    """
    for weight in model.weights:
        if not keras.backend.is_float_dtype(weight.dtype):
            continue
        if not bool(ops.all(ops.isfinite(weight.value))):
            raise ValueError(
                f"The weights in {source} must be finite numbers. Received: NaN or an "
                f"infinity in {weight.path}. Take the file anew from where it was "
                "published; if it was trained here, go back to an earlier checkpoint."
            )
