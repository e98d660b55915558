"""The parameters of generation: their defaults and the rules they must keep."""

# B batch

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow as tf

from keras_dalle.generation.weighted_prompts import prompt_faults


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter that every row has.

    Attributes:
        name: its name in Python, in the SavedModel and on the command line.
        dtype: of its tensor [B].
        default: value where the user gives none.
        requirement: the rule in words, or `None` where every value will do.
        holds: tells of a tensor [B] which rows keep the rule.
    """

    name: str
    dtype: tf.DType
    default: float | int
    requirement: str | None = None
    holds: Callable[[tf.Tensor], tf.Tensor] = tf.ones_like


# NaN fails each comparison, so every rule rejects it; infinities are named apart.
PARAMETERS = (
    Parameter("seed", tf.int64, 0),
    Parameter(
        "guidance_scale",
        tf.float32,
        10.0,
        "a finite number of at least 0",
        lambda x_B: tf.math.is_finite(x_B) & (x_B >= 0.0),
    ),
    Parameter(
        "guidance_scale_end",
        tf.float32,
        -1.0,
        "a finite number of at least 0, or -1 (the scale stays)",
        lambda x_B: tf.math.is_finite(x_B) & ((x_B >= 0.0) | (x_B == -1.0)),
    ),
    Parameter(
        "temperature",
        tf.float32,
        1.0,
        "a finite number above 0",
        lambda x_B: tf.math.is_finite(x_B) & (x_B > 0.0),
    ),
    Parameter("top_k", tf.int32, 50, "0 (off) or more", lambda x_B: x_B >= 0),
    Parameter(
        "top_p",
        tf.float32,
        1.0,
        "above 0 and at most 1 (off)",
        lambda x_B: (x_B > 0.0) & (x_B <= 1.0),
    ),
)


def defaults_of(overrides: Mapping[str, float | int] | None) -> dict[str, float | int]:
    """The default of every parameter, where a model's own replace the general ones.

    Args:
        overrides: a model's own defaults, by name, or `None`.

    Raises:
        ValueError: there is no such parameter, or it breaks its rule.
    """
    defaults = {parameter.name: parameter.default for parameter in PARAMETERS}
    overrides = overrides or {}
    allowed = [name for name in defaults if name != "seed"]
    unknown = sorted(set(overrides) - set(allowed))
    if unknown:
        raise ValueError(
            f"Defaults must be of the parameters {', '.join(allowed)}. Received: "
            f"{', '.join(unknown)}."
        )
    defaults.update(overrides)
    rows = {p.name: tf.constant([defaults[p.name]], p.dtype) for p in PARAMETERS}
    fault = replace_faulty_rows(rows)[1].numpy()[0].decode()
    if fault:
        raise ValueError(fault)
    return defaults


def faults_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Returns each row's fault, empty for good rows, without drawing.

    Args:
        rows: values of some parameters by name, and maybe of `prompt`, as bytes.
            Missing values are no fault.
    """
    rows = list(rows)
    inputs = {
        parameter.name: tf.constant(
            [row.get(parameter.name, parameter.default) for row in rows],
            parameter.dtype,
        )
        for parameter in PARAMETERS
    }
    inputs["prompt"] = tf.constant([row.get("prompt", b"") for row in rows], tf.string)
    texts_B = replace_faulty_rows(inputs)[1].numpy()
    return [text.decode(errors="replace") for text in texts_B]


def replace_faulty_rows(
    inputs: dict[str, tf.Tensor],
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Replaces inputs that break a rule and describes them.

    Args:
        inputs: tensors [B] by name, every parameter among them, and maybe `prompt`.

    Returns:
        The inputs with defaults, and blank prompts, in place of faults, and the texts
        [B] that tell them: empty for good rows.
    """
    inputs = dict(inputs)
    texts = []
    if "prompt" in inputs:
        fault_B = prompt_faults(inputs["prompt"])
        texts.append(fault_B)
        inputs["prompt"] = tf.where(fault_B == "", inputs["prompt"], "")
    for parameter in PARAMETERS:
        if parameter.requirement is None:
            continue
        x_B = inputs[parameter.name]
        holds_B = parameter.holds(x_B)
        # `shortest` is the %g of floats: "-1", not "-1.000000".
        value_B = tf.strings.as_string(x_B, shortest=x_B.dtype.is_floating)
        text_B = tf.strings.join(
            [f"`{parameter.name}` must be {parameter.requirement}. Received: ", value_B]
        )
        texts.append(tf.where(holds_B, "", text_B))
        default = tf.constant(parameter.default, x_B.dtype)
        inputs[parameter.name] = tf.where(holds_B, x_B, default)
    return inputs, tf.strings.strip(tf.strings.join(texts, separator=" "))
