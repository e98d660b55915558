"""From what a user asks `generate` for to rows, one a picture."""

# B prompts

import numpy as np
import tensorflow as tf

from keras_dalle.generation.parameters import PARAMETERS, replace_faulty_rows


def prompts_of(inputs):
    """Prompts, negative prompts, and whether there is one prompt without a batch."""
    if not isinstance(inputs, dict):
        inputs = {"prompts": inputs}
    unknown = sorted(set(inputs) - {"prompts", "negative_prompts"})
    if unknown or "prompts" not in inputs:
        raise ValueError(
            "`inputs` must be a string, a list of strings, or a dictionary with "
            f"`prompts` and, if wanted, `negative_prompts`. Received: {sorted(inputs)}."
        )
    prompts = inputs["prompts"]
    is_scalar = np.ndim(prompts) == 0
    return (
        [prompts] if is_scalar else prompts,
        inputs.get("negative_prompts", ""),
        is_scalar,
    )


def rows_of(prompts, negative_prompts, num_images, parameters):
    """One row a picture: tensors [B * num_images] by name, their rules checked."""
    count = len(prompts)

    def repeated(name, values, dtype):
        values_B = np.array(values, dtype=object if dtype == tf.string else None)
        if dtype.is_integer and not np.all(np.abs(values_B) <= dtype.max):
            raise ValueError(f"`{name}` must fit {dtype.name}. Received: {values!r}.")
        if values_B.ndim and len(values_B) != count:
            raise ValueError(
                f"`{name}` must be one value, or one a prompt (={count}). Received: "
                f"{len(values_B)} values."
            )
        values_B = np.broadcast_to(values_B, [count])
        return tf.constant(np.repeat(values_B, num_images), dtype)

    rows = {
        "prompt": repeated("prompts", prompts, tf.string),
        "negative_prompt": repeated("negative_prompts", negative_prompts, tf.string),
    }
    for parameter in PARAMETERS:
        value = parameters[parameter.name]
        rows[parameter.name] = repeated(parameter.name, value, parameter.dtype)
    rows["seed"] += np.tile(np.arange(num_images), count)
    rows, faults_B = replace_faulty_rows(rows)
    faults = [fault.decode() for fault in faults_B.numpy() if fault]
    if faults:
        raise ValueError(faults[0])
    return rows
