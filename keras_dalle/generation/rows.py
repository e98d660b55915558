"""From what a user asks `generate` for to rows, one a picture."""

# B prompts

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_dalle.generation.parameters import (
    PARAMETERS,
    Parameter,
    replace_faulty_rows,
)
from keras_dalle.generation.prompt_inputs import one_a_prompt
from keras_dalle.utils.plain_values import integers, reals


def rows_of(
    prompt_rows: Mapping[str, np.ndarray],
    num_images: int,
    parameters: Mapping[str, Any],
) -> dict[str, tf.Tensor]:
    """Returns tensors [B * num_images, ...] by name, a row per picture, after a check.

    Args:
        prompt_rows: prompts, [B, ...] each, by name.
        num_images: pictures per prompt; picture i has the seed `seed + i`.
        parameters: every parameter by its name, one value or B.

    Raises:
        ValueError: a parameter breaks a rule.
    """
    count = len(next(iter(prompt_rows.values())))
    rows = {
        name: tf.constant(
            np.repeat(x, num_images, axis=0),
            tf.string if x.dtype == object else x.dtype,
        )
        for name, x in prompt_rows.items()
    }
    for parameter in PARAMETERS:
        values = checked_values(parameter, parameters[parameter.name])
        values_B = one_a_prompt(parameter.name, values, count)
        rows[parameter.name] = tf.constant(
            np.repeat(values_B, num_images), parameter.dtype
        )
    rows["seed"] += np.tile(np.arange(num_images), count)
    rows, faults_B = replace_faulty_rows(rows)
    faults = [fault.decode() for fault in faults_B.numpy() if fault]
    if faults:
        raise ValueError(faults[0])
    return rows


def checked_values(parameter: Parameter, values: Any) -> np.ndarray:
    """Returns a parameter's values as an array [] or [B].

    Args:
        parameter: which one.
        values: one, or one per prompt.

    Raises:
        ValueError: they are not of the parameter's kind.
    """
    if parameter.dtype.is_integer:
        dtype = parameter.dtype.as_numpy_dtype
        return integers(parameter.name, values, dtype)
    return reals(parameter.name, values)
