"""Where an optimizer's variables lie: with the variable they belong to."""

import keras

from keras_dalle.distribution.private_api import adafactor_slots, trained_variables


def axes_of_slots(optimizer, axes_of):
    """Pairs (variable of the optimizer, mesh axes of its dimensions).

    What belongs to no weight, such as the learning rate, is on each device whole.

    Args:
        optimizer: a built `keras.optimizers.Optimizer`.
        axes_of: callable that gives the mesh axes of a trained variable.
    """
    factored = _axes_of_factors(optimizer, axes_of)
    by_name = {
        variable.path.replace("/", "_") + "_": variable
        for variable in trained_variables(optimizer)
    }
    for slot in optimizer.variables:
        yield slot, factored.get(id(slot)) or _axes_by_name(slot, by_name, axes_of)


def _axes_of_factors(optimizer, axes_of):
    """Adafactor's row and column statistics, each without one dimension."""
    axes = {}
    if isinstance(optimizer, keras.optimizers.Adafactor):
        for variable, row, column in adafactor_slots(optimizer):
            *batch_axes, row_axis, column_axis = axes_of(variable)
            axes[id(row)] = (*batch_axes, row_axis)
            axes[id(column)] = (*batch_axes, column_axis)
    return axes


def _axes_by_name(slot, by_name, axes_of):
    """Keras names a slot after its variable: `a_b_kernel_momentum` of `a/b/kernel`."""
    whole = (None,) * len(slot.shape)
    for prefix, variable in by_name.items():
        if slot.name.startswith(prefix) and slot.shape == variable.shape:
            return axes_of(variable)
    return whole
