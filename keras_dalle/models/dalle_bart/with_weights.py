"""A text-to-image model again, with weights of another width."""

from typing import Any

from keras import ops

from keras_dalle.layers.narrow_weights import policy_of_weights


def with_weights(task, weights):
    """A model for generation with a task's weights, held in fewer bits.

    Args:
        task: a `DalleBartTextToImage`, which stays as it is.
        weights: `"float32"`, `"bfloat16"` or `"int8"`, as of its `from_preset`.

    Returns:
        Another one, with a backbone of its own.
    """
    config = {**task.backbone.get_config(), "dtype": policy_of_weights(weights)}
    backbone = type(task.backbone).from_config(config)
    _copy_weights(task.backbone, backbone)
    return type(task)(
        backbone,
        task.preprocessor,
        task.vqgan,
        generation_defaults=task.get_config()["generation_defaults"],
    )


def _copy_weights(source, target):
    """As a weights file does, in which each layer reads what another width wrote."""
    layers = zip(source._flatten_layers(), target._flatten_layers(), strict=True)
    for source_layer, target_layer in layers:
        store: dict[str, Any] = {}
        source_layer.save_own_variables(store)
        target_layer.load_own_variables(
            {name: ops.convert_to_numpy(values) for name, values in store.items()}
        )
