"""A token that occurs twice counts with the sum of its gradients."""

import keras
import numpy as np
import tensorflow as tf

from keras_dalle.layers.embedding import Embedding

IDS = np.array([[1, 1, 1, 2], [1, 4, 4, 0]])
TARGETS = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")


def by_one_hot_product(table):
    return tf.one_hot(IDS, 5) @ table.value


def by_layer(layer):
    return layer(IDS, training=True)


def trained(lookup, **options):
    """The table after four steps of AdamW in a graph."""
    keras.utils.set_random_seed(0)
    layer = Embedding(5, 3)
    layer.build()
    table = layer.trainable_variables[0]
    optimizer = keras.optimizers.AdamW(1e-2, **options)
    optimizer.build([table])

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            rows = lookup(layer if lookup is by_layer else table)
            loss = tf.reduce_sum(tf.square(rows - TARGETS))
        optimizer.apply(tape.gradient(loss, [table.value]), [table])

    for _ in range(4):
        step()
    return table.numpy()


def test_adamw_sees_the_sum():
    np.testing.assert_allclose(
        trained(by_layer), trained(by_one_hot_product), atol=1e-6
    )


def test_clipping_sees_the_sum():
    np.testing.assert_allclose(
        trained(by_layer, clipnorm=0.5),
        trained(by_one_hot_product, clipnorm=0.5),
        atol=1e-6,
    )


def test_training_and_inference_agree_to_the_bit():
    layer = Embedding(5, 3)
    np.testing.assert_array_equal(layer(IDS, training=True), layer(IDS))


def test_bfloat16_is_looked_up_in_float32_and_then_cast():
    layer = Embedding(5, 3, dtype="mixed_bfloat16")
    layer.build()
    assert layer(IDS, training=True).dtype == layer(IDS).dtype == tf.bfloat16
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(IDS, training=True))
    (gradient,) = tape.gradient(loss, [v.value for v in layer.trainable_variables])
    assert isinstance(gradient, tf.Tensor) and gradient.dtype == tf.float32
    np.testing.assert_array_equal(gradient[1], [4, 4, 4])
