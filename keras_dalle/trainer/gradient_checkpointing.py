"""Transformer layers that are computed again for their gradients, to save memory.

Keras 3.15 has `RematScope` for it, which on the TensorFlow backend takes no keyword
arguments within `fit`, such as `training`, and whose second computation would draw
other dropout masks.
"""

# B batch, T tokens, D width

import functools
import math

import keras
import tensorflow as tf

from keras_dalle.distribution.private_api import tensorflow_variable


def checkpoint_gradients(model) -> None:
    """Has `fit` keep of each encoder and decoder layer no more than its inputs.

    What else its gradients need is computed again on the way back, one layer at a time.
    Losses, gradients and dropout masks stay what they are. Only calls with
    `training=True` are concerned.

    Args:
        model: a `DalleBartTextToImage` or a `DalleBartBackbone`, without training steps
            since `compile`, and not yet distributed.

    Raises:
        ValueError: the model has its train step already, or was here before.

    Example:
    ```python
    text_to_image = DalleBartTextToImage.from_preset("emoji_tiny")
    checkpoint_gradients(text_to_image)
    text_to_image.compile(optimizer=keras.optimizers.AdamW(1e-4))
    text_to_image.fit(examples, batch_size=2)
    ```
    """
    if model.train_function is not None:
        raise ValueError(
            "`checkpoint_gradients` must come before training steps and before "
            "`distribute`. Received: a model with a train step. Call its `compile` "
            "first, or `gather` its placement."
        )
    backbone = getattr(model, "backbone", model)
    layers = [*backbone.encoder_layers, *backbone.decoder_layers]
    if any(hasattr(layer.call, "recomputes") for layer in layers):
        raise ValueError(
            "`checkpoint_gradients` must be called once. Received: a model whose "
            "layers are computed again already."
        )
    for layer in layers:
        layer.call = _recomputing(layer)


def _recomputing(layer):
    """The layer's `call` with gradients from a second computation."""
    call = layer.call

    @functools.wraps(call)
    def recomputing_call(*args, training=None, **kwargs):
        if not training:
            return call(*args, training=training, **kwargs)
        inputs = [x for x in keras.tree.flatten((args, kwargs)) if tf.is_tensor(x)]

        def compute(inputs):
            remaining = iter(inputs)
            arguments, named = keras.tree.map_structure(
                lambda x: next(remaining) if tf.is_tensor(x) else x, (args, kwargs)
            )
            return call(*arguments, training=training, **named)

        return _compute_twice(compute, inputs, layer)

    recomputing_call.recomputes = True  # type: ignore[attr-defined]
    return recomputing_call


def _compute_twice(compute, inputs, layer):
    """The output of `compute`, whose gradients come from computing it again.

    Both times the layer's variables have the values from before: weights, and states
    of random numbers, whose changes are assigned after the first time alone.

    Args:
        compute: callable of `inputs`.
        inputs: list of tensors.
        layer: whose variables `compute` uses.
    """
    # Not its `trainable_variables`: with LoRA those of a frozen layer's parts train.
    trained = [v for v in layer.variables if v.trainable]
    others = [v for v in layer.variables if not v.trainable]
    values = [tf.convert_to_tensor(tensorflow_variable(v)) for v in (*trained, *others)]
    changed: list = []

    @tf.custom_gradient
    def outputs(*sources):
        inputs_, values_ = sources[: len(inputs)], sources[len(inputs) :]
        with _scope((*trained, *others), values_) as scope:
            output = compute(inputs_)
        after = [(v, scope.get_current_value(v)) for v in others]
        before = values_[len(trained) :]
        changed[:] = [
            pair for pair, x in zip(after, before, strict=True) if pair[1] is not x
        ]

        def gradient(d_output, *_):
            again = _available_after(d_output, inputs_)
            targets = [*again, *values_[: len(trained)]]
            with tf.GradientTape() as tape:
                tape.watch([x for x in targets if x.dtype.is_floating])
                with _scope((*trained, *others), values_):
                    output = compute(again)
            gradients = tape.gradient(output, targets, d_output)
            # An embedding's is made dense, as the tape wants it of tensors.
            dense = [None if g is None else tf.convert_to_tensor(g) for g in gradients]
            return [*dense, *(None for _ in others)]

        return (output, *(value for _, value in changed)), gradient

    output, *states = outputs(*inputs, *values)
    for (variable, _), state in zip(changed, states, strict=True):
        variable.assign(state)
    return output


def _scope(variables, values):
    """Within it each variable has its value, and assignments go nowhere."""
    scope = keras.StatelessScope()
    for pair in zip(variables, values, strict=True):
        # Not the constructor, which compares shapes: on a mesh they may be padded.
        scope.add_update(pair)
    return scope


def _available_after(d_output_BTD, inputs):
    """The inputs, of which those with activations wait for a gradient.

    Else a second computation would be found to be the first one over again, and what
    the first one computed would be kept for it.
    """
    d_B1D = d_output_BTD[:, :1]
    # Not 0 * d, which a compiler may simplify.
    zeros_B1D = tf.where(d_B1D == d_B1D, tf.zeros_like(d_B1D), math.nan)
    return [
        x + tf.cast(zeros_B1D, x.dtype) if x.dtype.is_floating else x for x in inputs
    ]
