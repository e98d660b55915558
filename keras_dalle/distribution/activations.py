"""Layouts of activations, put around a model's layers from outside."""

import functools

import keras
from tensorflow.experimental import dtensor

from keras_dalle.distribution.layout_rules import BATCH, axes_of_activation
from keras_dalle.distribution.mesh import layout
from keras_dalle.distribution.private_api import layers_by_path


def install_layouts(model, rules, mesh) -> list:
    """Gives the outputs of layers the layouts of `rules`.

    Args:
        model: a `keras.Model`.
        rules: ordered `Rule`s on the paths of layers.
        mesh: a DTensor mesh.

    Returns:
        Callables that undo it, to be called from the last to the first.
    """
    return [
        change_output(layer, functools.partial(_lay_out, path, rules, mesh))
        for path, layer in layers_by_path(model).items()
        if axes_of_activation(rules, path, rank=8) is not None
    ]


def change_output(layer, change):
    """Has `change` applied to what a layer's `call` returns.

    Args:
        layer: a `keras.layers.Layer`.
        change: callable of a tensor.

    Returns:
        A callable that undoes it.
    """
    call = layer.call

    @functools.wraps(call)
    def changed(*args, **kwargs):
        return change(call(*args, **kwargs))

    return replace_call(layer, changed)


def replace_call(layer, call):
    """Gives one layer another `call`; returns a callable that undoes it."""
    former = layer.__dict__.get("call")
    layer.call = call

    def undo():
        if former is None:
            del layer.call
        else:
            layer.call = former

    return undo


def _lay_out(path, rules, mesh, tensor):
    if isinstance(tensor, keras.KerasTensor):
        return tensor
    axes = axes_of_activation(rules, path, len(tensor.shape))
    return dtensor.relayout(tensor, layout(mesh, _whole_if_partial(axes, tensor, mesh)))


def _whole_if_partial(axes, tensor, mesh):
    """A batch that does not divide, an epoch's last, is on each device whole."""
    rows = tensor.shape[0]
    if axes[0] == BATCH and (rows is None or rows % mesh.dim_size(BATCH)):
        return (None, *axes[1:])
    return axes
