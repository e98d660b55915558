"""All that DTensor training uses of Keras's and TensorFlow's private names.

`tests/distribution/test_private_api.py` names the one that vanished.
"""

from contextlib import contextmanager

import tensorflow as tf
from tensorflow.python.ops import control_flow_util_v2

PRIVATE_NAMES = {
    "Variable": ("_value",),
    "Model": ("_symbolic_build", "_flatten_layers"),
    "Optimizer": (
        *("_var_key", "_trainable_variables_indices", "_trainable_variables"),
        *("_accumulated_gradients", "_backend_reset_gradient_accumulators"),
        "_model_variables_moving_average",
        "_update_model_variables_moving_average",
    ),
    "Adafactor": ("_r", "_c"),
}

TENSORFLOW_NAMES = ((control_flow_util_v2, "_DISABLE_LOWER_USING_SWITCH_MERGE"),)


@contextmanager
def functional_control_flow():
    """Within it, `cond` and `while` are traced as calls, not spread over the graph.

    Spread, they would be copied several times for each device, with the graph.
    """
    before = control_flow_util_v2._DISABLE_LOWER_USING_SWITCH_MERGE
    control_flow_util_v2._DISABLE_LOWER_USING_SWITCH_MERGE = True
    try:
        yield
    finally:
        control_flow_util_v2._DISABLE_LOWER_USING_SWITCH_MERGE = before


def tensorflow_variable(variable):
    """The `tf.Variable` that a Keras variable stands for."""
    return variable._value


def replace_tensorflow_variable(variable, value) -> None:
    """Puts another `tf.Variable` behind a Keras variable."""
    variable._value = value


def layers_by_path(model) -> dict:
    """All layers of a model, and theirs, by path.

    Layers that are not built before their first call have no path until then, so
    theirs is that of the layer they belong to and their name.
    """
    layers: dict = {}
    for parent in model._flatten_layers():
        for layer in parent._flatten_layers(include_self=False, recursive=False):
            path = layer.path or f"{parent.path}/{layer.name}"
            layers.setdefault(path, layer)
    return layers


def build_metrics(model, data_batch) -> None:
    """Makes the variables that a compiled model otherwise makes at its first batch."""
    model._symbolic_build(data_batch=data_batch)


def renew_keys(optimizer) -> None:
    """Has an optimizer find its slots by the variables as they are now.

    On the TensorFlow backend the keys are those of the `tf.Variable`s, which were
    replaced.
    """
    optimizer._trainable_variables_indices = {
        optimizer._var_key(variable): i
        for i, variable in enumerate(trained_variables(optimizer))
    }


def trained_variables(optimizer) -> list:
    """The variables that an optimizer was built for."""
    return list(optimizer._trainable_variables)


def work_as_stored(optimizer):
    """Has sums of gradients cleared, and weights averaged, in their shapes on a mesh.

    Keras assigns values of the logical shape, and checks it.

    Returns:
        A callable that undoes it.
    """

    def reset():
        for accumulator in optimizer._accumulated_gradients:
            value = tensorflow_variable(accumulator)
            value.assign(tf.zeros_like(value))

    def average(variables):
        if not optimizer.use_ema:
            return
        averages = optimizer._model_variables_moving_average
        for variable, averaged in zip(variables, averages, strict=True):
            if averaged is None:
                continue
            value = tensorflow_variable(averaged)
            is_later = tf.cast(optimizer.iterations > 0, value.dtype)
            momentum = is_later * optimizer.ema_momentum
            new = tensorflow_variable(variable)
            value.assign(momentum * value + (1 - momentum) * new)

    changed = {
        "_backend_reset_gradient_accumulators": reset,
        "_update_model_variables_moving_average": average,
    }
    for name, function in changed.items():
        setattr(optimizer, name, function)

    def undo():
        for name in changed:
            delattr(optimizer, name)

    return undo


def adafactor_slots(optimizer):
    """Triples (variable, row slot, column slot) of a built Adafactor.

    They are the only slots of Keras's optimizers that are not named after their
    variable.
    """
    for variable, row, column in zip(
        optimizer._trainable_variables, optimizer._r, optimizer._c, strict=True
    ):
        if len(variable.shape) >= 2:
            yield variable, row, column
