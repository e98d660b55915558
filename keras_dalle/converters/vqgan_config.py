"""Configurations of VQGANs: the fields of both originals to our arguments and back."""

from collections.abc import Mapping
from typing import Any

from keras_dalle.converters.config_fields import integer, number
from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone
from keras_dalle.utils.foreign_values import shortened

# The originals' field -> our argument. These are taming-transformers' `ddconfig` and,
# beside each other, vqgan-jax's config.json.
_INTEGERS = {
    "resolution": "image_size",
    "ch": "base_channels",
    "num_res_blocks": "num_res_blocks",
    "z_channels": "latent_channels",
}
_LISTS = {
    "ch_mult": "channel_multipliers",
    "attn_resolutions": "attention_resolutions",
}
NETWORK_FIELDS = {*_INTEGERS, *_LISTS}
CODEBOOK_FIELDS = {"embed_dim": "embedding_dim", "n_embed": "codebook_size"}

# Fields that have one supported value, and that value.
FIXED_FIELDS = {
    "double_z": False,
    "give_pre_end": False,
    "in_channels": 3,
    "out_ch": 3,
    "resamp_with_conv": True,
}
OPTIONAL_FIELDS = {"dropout"}


def network_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `VQGANBackbone` for the fields of the network.

    Args:
        config: has `NETWORK_FIELDS`, and may have `FIXED_FIELDS` and
            `OPTIONAL_FIELDS`.

    Raises:
        ValueError: a field's value is of another kind, or one that no published
            model has.
    """
    for name in ("in_channels", "out_ch"):
        if config.get(name, 3) != 3:
            raise ValueError(
                f"`{name}` must be 3, the channels of a picture. Received: "
                f"{shortened(config[name])}, as in a VQGAN of depth or segmentation "
                "maps. Take the VQGAN of the pictures."
            )
    for name, value in FIXED_FIELDS.items():
        if config.get(name, value) != value:
            raise ValueError(
                f"`{name}` must be {value!r}, as in all published VQGANs. Received: "
                f"{shortened(config[name])}."
            )
    arguments: dict[str, Any] = {
        ours: integer(name, config[name]) for name, ours in _INTEGERS.items()
    }
    for name, ours in _LISTS.items():
        arguments[ours] = _integers(name, config[name])
    arguments["dropout"] = number("dropout", config.get("dropout", 0.0))
    return arguments


def codebook_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `VQGANBackbone` for `CODEBOOK_FIELDS`."""
    return {ours: integer(name, config[name]) for name, ours in CODEBOOK_FIELDS.items()}


def network_fields(backbone: VQGANBackbone) -> dict[str, Any]:
    """The inverse of `network_arguments`, with the fixed fields."""
    ours = backbone.get_config()
    fields = {name: ours[argument] for name, argument in _INTEGERS.items()}
    fields |= {name: list(ours[argument]) for name, argument in _LISTS.items()}
    return {**fields, "dropout": ours["dropout"], **FIXED_FIELDS}


def codebook_fields(backbone: VQGANBackbone) -> dict[str, Any]:
    """The inverse of `codebook_arguments`."""
    return {
        name: getattr(backbone, argument) for name, argument in CODEBOOK_FIELDS.items()
    }


def require_original(
    backbone: VQGANBackbone,
    form: str,
    notes: list[str] | None = None,
    **values: Any,
) -> None:
    """Raises unless a model is one that an original's format can describe.

    Args:
        backbone: the model.
        form: the format's name, for the error's text.
        notes: gets a sentence on what the format does not keep.
        **values: attributes of the backbone that must have one of these values.
    """
    values = {"patch_size": (1,), **values}
    for name, allowed in values.items():
        value = getattr(backbone, name)
        if value not in allowed:
            choices = " or ".join(map(repr, allowed))
            raise ValueError(
                f"`{name}` must be {choices} to be written for {form}, whose format "
                f"has no field for it. Received: {value!r}. Save the model with "
                "`save_to_preset` instead."
            )
    if backbone.commitment_weight != 0.25 and notes is not None:
        notes.append(
            f"commitment_weight={backbone.commitment_weight} is not stored; the "
            "original trains with 0.25."
        )


def _integers(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(
            f"`{name}` must be a list of integers. Received: {shortened(value)}."
        )
    return tuple(integer(name, item) for item in value)
