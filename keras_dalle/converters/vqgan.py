"""Loads a VQGAN from vqgan-jax's folder: config.json and flax_model.msgpack."""

import os
from pathlib import Path

from keras_dalle.converters.flax import Rule, assign_weights, read_flax_msgpack
from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone
from keras_dalle.utils.files import read_json, require_files

# Variable paths of `VQGANBackbone` to vqgan-jax's names. `<block>` is a place in the
# tree, such as encoder_down_0_block_1 for encoder/down_0/block_1.
_SIDE = r"(?P<side>encoder|decoder)"
_PLACE = _SIDE + r"_(?P<level>(?:down|up)_\d+|mid)_(?P<block>block_\d+|attn_\d+)"
_TREE = r"\g<side>/\g<level>/\g<block>"
FLAX_TABLE = (
    Rule(rf"{_PLACE}/norm(?P<n>\d?)/gamma", rf"{_TREE}/norm\g<n>/scale"),
    Rule(rf"{_PLACE}/norm(?P<n>\d?)/beta", rf"{_TREE}/norm\g<n>/bias"),
    Rule(
        rf"{_PLACE}/shortcut/(?P<leaf>kernel|bias)",
        rf"{_TREE}/nin_shortcut/\g<leaf>",
    ),
    Rule(
        rf"{_PLACE}/attention_output/(?P<leaf>kernel|bias)",
        rf"{_TREE}/proj_out/\g<leaf>",
    ),
    Rule(
        rf"{_PLACE}/(?P<initial>[qkv])(?:uery|ey|alue)/(?P<leaf>kernel|bias)",
        rf"{_TREE}/\g<initial>/\g<leaf>",
    ),
    Rule(
        rf"{_PLACE}/(?P<conv>conv\d)/(?P<leaf>kernel|bias)",
        rf"{_TREE}/\g<conv>/\g<leaf>",
    ),
    Rule(
        _SIDE
        + r"_(?P<level>(?:down|up)_\d+)_(?P<kind>downsample|upsample)/(?P<rest>.+)",
        r"\g<side>/\g<level>/\g<kind>/\g<rest>",
    ),
    Rule(
        _SIDE + r"_(?P<conv>conv_(?:in|out))/(?P<leaf>.+)",
        r"\g<side>/\g<conv>/\g<leaf>",
    ),
    Rule(_SIDE + r"_norm_out/gamma", r"\g<side>/norm_out/scale"),
    Rule(_SIDE + r"_norm_out/beta", r"\g<side>/norm_out/bias"),
    Rule(r"((?:post_)?quant_conv)/(.+)", r"\1/\2"),
    Rule(r"quantizer/codebook", "quantize/embedding/embedding"),
)

# The original's fields that have one supported value, and that value.
_FIXED_FIELDS = {
    "double_z": False,
    "give_pre_end": False,
    "in_channels": 3,
    "out_ch": 3,
    "resamp_with_conv": True,
}


def config_from_flax(config: dict) -> dict:
    """Arguments of `VQGANBackbone` for vqgan-jax's config.json.

    Raises:
        ValueError: a field has a value that the original never ran with.
    """
    for field, value in _FIXED_FIELDS.items():
        if config.get(field, value) != value:
            raise ValueError(
                f"`{field}` must be {value!r} in a VQGAN's config.json. Received: "
                f"{config[field]!r}."
            )
    return {
        "image_size": config["resolution"],
        "base_channels": config["ch"],
        "channel_multipliers": tuple(config["ch_mult"]),
        "num_res_blocks": config["num_res_blocks"],
        "attention_resolutions": tuple(config["attn_resolutions"]),
        "latent_channels": config["z_channels"],
        "embedding_dim": config["embed_dim"],
        "codebook_size": config["n_embed"],
        "dropout": config.get("dropout", 0.0),
        # vqgan-jax's published checkpoints see black as 0, not as -1.
        "value_range": (0.0, 1.0),
    }


def load_flax_vqgan(
    directory: str | os.PathLike, load_weights: bool = True, **kwargs
) -> VQGANBackbone:
    """A `VQGANBackbone` from a folder as vqgan-jax's `save_pretrained` writes it.

    Args:
        directory: holds config.json and flax_model.msgpack.
        load_weights: bool. Whether to read the weights.
        **kwargs: arguments of `VQGANBackbone` that replace those of config.json.

    Raises:
        ValueError: an unsupported config, or weights that do not fit it, by name.
    """
    directory = Path(directory)
    require_files(directory, ["config.json", "flax_model.msgpack"], "vqgan-jax")
    config = config_from_flax(read_json(directory / "config.json"))
    backbone = VQGANBackbone(**{**config, **kwargs})
    if load_weights:
        path = directory / "flax_model.msgpack"
        assign_weights(backbone, read_flax_msgpack(path), FLAX_TABLE, source=str(path))
    return backbone
