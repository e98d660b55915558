"""taming-transformers' yaml of a VQModel or GumbelVQ, read and written."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keras_dalle.converters.config_fields import check_fields, number
from keras_dalle.converters.mapping import Rule
from keras_dalle.converters.vqgan_config import (
    CODEBOOK_FIELDS,
    FIXED_FIELDS,
    NETWORK_FIELDS,
    OPTIONAL_FIELDS,
    codebook_arguments,
    codebook_fields,
    network_arguments,
    network_fields,
)
from keras_dalle.converters.vqgan_names import GUMBEL_TABLE, VQMODEL_TABLE
from keras_dalle.models.vqgan.gumbel_temperature import GumbelTemperature
from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone
from keras_dalle.utils.foreign_values import shortened

VALUE_RANGE = (-1.0, 1.0)


@dataclass(frozen=True)
class TamingModel:
    """A class of taming-transformers.

    Attributes:
        quantizer: ours.
        table: names of its tensors.
        codebook: the name of that of its codes.
        fields: of `model.params` that the class alone has, and that we read.
        without_effect: the same for those of its training.
    """

    quantizer: str
    table: Sequence[Rule]
    codebook: str
    fields: Collection[str]
    without_effect: Collection[str]


# By the last part of the yaml's `target`.
TAMING_MODELS = {
    "VQModel": TamingModel(
        "nearest",
        VQMODEL_TABLE,
        "quantize.embedding.weight",
        (),
        ("sane_index_shape",),
    ),
    "GumbelVQ": TamingModel(
        "gumbel",
        GUMBEL_TABLE,
        "quantize.embed.weight",
        ("kl_weight",),
        ("temperature_scheduler_config",),
    ),
}

_TRANSFORMER = "Net2NetTransformer"
_SEGMENTATION_MODEL = "VQSegmentationModel"

# Fields of `model.params` that are for training or for logs alone.
_WITHOUT_EFFECT = {
    "ckpt_path",
    "colorize_nlabels",
    "ignore_keys",
    "image_key",
    "lossconfig",
    "monitor",
}

# taming-transformers' names of the temperature's schedule -> ours.
_SCHEDULE = {
    "warm_up_steps": "warmup_steps",
    "max_decay_steps": "decay_steps",
    "lr_start": "start",
    "lr_max": "maximum",
    "lr_min": "minimum",
}

# === Reading ===


def taming_model(config: Mapping[str, Any]) -> TamingModel:
    """The model that a yaml's `target` names.

    Raises:
        ValueError: it names none, or one that is not read here.
    """
    name = _class_name(config)
    if name == _SEGMENTATION_MODEL:
        raise ValueError(
            "`model.target` must be a VQGAN of pictures, which have 3 channels. "
            f"Received: a {name}, which reads and draws maps with a channel for each "
            "label. Take the VQGAN of the pictures."
        )
    if name not in TAMING_MODELS:
        raise ValueError(
            f"`model.target` must be a {' or '.join(TAMING_MODELS)} of "
            f"taming-transformers. Received: {shortened(_target(config))}."
        )
    return TAMING_MODELS[name]


def vqgan_of_taming(config: Any) -> Any:
    """Returns the configuration of a VQGAN, also out of a Net2NetTransformer's.

    Args:
        config: the parsed file.

    Returns:
        `config`, or the part on the transformer's first stage under the key `model`.
    """
    if _class_name(config) != _TRANSFORMER:
        return config
    return {"model": _mapping(config, "model", "params", "first_stage_config")}


def _class_name(config: Any) -> str:
    target = _target(config)
    return target.rpartition(".")[-1] if isinstance(target, str) else ""


def _target(config: Any) -> Any:
    return _mapping(config, "model").get("target")


def config_from_taming(
    config: Mapping[str, Any], notes: list[str] | None = None
) -> dict[str, Any]:
    """Arguments of `VQGANBackbone` for taming-transformers' yaml.

    Args:
        config: the parsed file.
        notes: gets a sentence on fields that have no effect.

    Raises:
        ValueError: the model is another one, a field is missing or unknown, or it has
            a value that no published model has.
    """
    model = taming_model(config)
    params = _mapping(config, "model", "params")
    check_fields(
        params,
        required={*CODEBOOK_FIELDS, "ddconfig"},
        optional={"remap", *model.fields},
        without_effect={*_WITHOUT_EFFECT, *model.without_effect},
        notes=notes,
    )
    if params.get("remap") is not None:
        raise ValueError(
            "`remap` must be null: with a value, another file numbers the tokens. "
            f"Received: {shortened(params['remap'])}."
        )
    ddconfig = _mapping(config, "model", "params", "ddconfig")
    check_fields(ddconfig, NETWORK_FIELDS, {*FIXED_FIELDS, *OPTIONAL_FIELDS}, ())
    arguments = {
        # Where the field is missing, the original's default is true.
        **network_arguments({"double_z": True, **ddconfig}),
        **codebook_arguments(params),
        "quantizer": model.quantizer,
        "value_range": VALUE_RANGE,
    }
    if "kl_weight" in params:
        arguments["kl_weight"] = number("kl_weight", params["kl_weight"])
    return arguments


def gumbel_temperature_from_taming(config: Mapping[str, Any]) -> GumbelTemperature:
    """The schedule of a GumbelVQ's temperature.

    Args:
        config: the parsed yaml.

    Raises:
        ValueError: it has no schedule, or an unknown field of one.
    """
    place = ("model", "params", "temperature_scheduler_config", "params")
    schedule = _mapping(config, *place)
    check_fields(schedule, _SCHEDULE, (), {"verbosity_interval"})
    return GumbelTemperature(
        **{ours: number(name, schedule[name]) for name, ours in _SCHEDULE.items()}
    )


def _mapping(config: Any, *keys: str) -> Mapping[str, Any]:
    value = config
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping):
        raise ValueError(
            f"`{'.'.join(keys)}` must be a mapping in the yaml of a VQGAN. Received: "
            f"{shortened(value)}."
        )
    return value


# === Writing ===


def taming_from_backbone(backbone: VQGANBackbone) -> dict[str, Any]:
    """The yaml's content for a model; the losses are taming's `DummyLoss`."""
    (name,) = (
        name
        for name, model in TAMING_MODELS.items()
        if model.quantizer == backbone.quantizer_kind
    )
    params = {
        **codebook_fields(backbone),
        "ddconfig": network_fields(backbone),
        "lossconfig": {"target": "taming.modules.losses.vqperceptual.DummyLoss"},
    }
    if backbone.quantizer_kind == "gumbel":
        schedule = GumbelTemperature().get_config()
        params["kl_weight"] = backbone.kl_weight
        params["temperature_scheduler_config"] = {
            "target": "taming.lr_scheduler.LambdaWarmUpCosineScheduler",
            "params": {name: schedule[ours] for name, ours in _SCHEDULE.items()},
        }
    return {"model": {"target": f"taming.models.vqgan.{name}", "params": params}}
