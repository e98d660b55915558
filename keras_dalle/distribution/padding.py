"""Keeps the zeros that padded variables end with from acting on anything.

A dimension that no mesh axis divides is stored with zeros after it. Two places would
notice: norms over the inner width of a feed-forward block, and the logits of image
tokens that do not exist. What is done there also makes the gradients of the zeros zero.
"""

import functools

import keras
import tensorflow as tf

from keras_dalle.distribution.activations import change_output, replace_call
from keras_dalle.distribution.private_api import layers_by_path

_NO_LOGIT = -1e9


def check_padding(optimizer) -> None:
    """Refuses optimizers whose update of an entry depends on how many others there are.

    Raises:
        ValueError: such an optimizer.
    """
    if isinstance(optimizer, (keras.optimizers.Adafactor, keras.optimizers.Muon)):
        raise ValueError(
            "`pad_to_multiple_of` must be `None` with an optimizer that takes means "
            f"over a variable. Received: {type(optimizer).__name__}. Choose a mesh "
            "that divides all dimensions, or another optimizer."
        )


def install_masks(model, widths) -> list:
    """Masks what padding would change.

    Args:
        model: a `keras.Model`, whose layers have no layouts yet.
        widths: logical last dimension of each padded kernel, by its layer's path.

    Returns:
        Callables that undo it, to be called from the last to the first.
    """
    layers = layers_by_path(model)
    undo = []
    for path, width in widths.items():
        parent, _, name = path.rpartition("/")
        if name == "image_head":
            mask = functools.partial(_mask_logits, width)
            undo.append(change_output(layers[path], mask))
        elif f"{parent}/inside_norm" in layers:
            layer = layers[f"{parent}/inside_norm"]
            masked = functools.partial(_masked_norm, layer, width)
            undo.append(
                replace_call(layer, functools.update_wrapper(masked, layer.call))
            )
        else:
            raise ValueError(
                "Padding can act on feed-forward blocks and the image head alone. "
                f"Received: a padded kernel of {path!r}. Choose another mesh."
            )
    return undo


def accept_padded_inputs(model, widths) -> list:
    """Lets the layers after padded ones take longer inputs than they were built for.

    Args:
        model, widths: as of `install_masks`.

    Returns:
        Pairs (layer, its own input specification).
    """
    layers = layers_by_path(model)
    paths = {f"{path.rpartition('/')[0]}/feed_forward_output" for path in widths}
    specs = [(layers[path], layers[path].input_spec) for path in paths & set(layers)]
    for layer, _ in specs:
        layer.input_spec = None
    return specs


def without_padding(model, outputs):
    """Cuts arrays that a functional model returned to their logical last dimension."""
    cut = [
        array[..., : symbolic.shape[-1]]
        for array, symbolic in zip(
            keras.tree.flatten(outputs), model.outputs, strict=True
        )
    ]
    return keras.tree.pack_sequence_as(outputs, cut)


def _is_real(tensor, width):
    return tf.range(tensor.shape[-1]) < width


def _mask_logits(width, logits):
    if isinstance(logits, keras.KerasTensor) or logits.shape[-1] == width:
        return logits
    return tf.where(_is_real(logits, width), logits, tf.cast(_NO_LOGIT, logits.dtype))


def _masked_norm(layer, width, inputs, **kwargs):
    """LayerNorm, RMSNorm or identity over the first `width` of the last dimension."""
    if isinstance(inputs, keras.KerasTensor) or inputs.shape[-1] == width:
        return type(layer).call(layer, inputs, **kwargs)
    mask = tf.cast(_is_real(inputs, width), "float32")
    x = tf.cast(inputs, "float32") * mask
    if hasattr(layer, "epsilon"):
        if isinstance(layer, keras.layers.LayerNormalization):
            x = (x - tf.reduce_sum(x, axis=-1, keepdims=True) / width) * mask
        mean_square = tf.reduce_sum(tf.square(x), axis=-1, keepdims=True) / width
        x = x * tf.math.rsqrt(mean_square + layer.epsilon)
    for name, apply in (("gamma", tf.multiply), ("beta", tf.add)):
        weight = getattr(layer, name, None)
        if weight is not None:
            weight = tf.cast(tf.convert_to_tensor(weight), "float32")
            # Not tf.pad, whose gradient DTensor lays out where it does not divide.
            places = tf.minimum(tf.range(inputs.shape[-1]), width - 1)
            x = apply(x, tf.gather(weight, places) * mask)
    return tf.cast(x, layer.compute_dtype)
