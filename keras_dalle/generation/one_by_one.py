"""Pictures to image tokens and back, each on its own.

A convolution over a batch adds up in another order than over one picture. A pixel, or a
token that two codes are almost equally near to, could then depend on the neighbours.
"""

# B pictures, T image tokens, H height, W width

from collections.abc import Callable
from typing import Any

import tensorflow as tf


@tf.autograph.experimental.do_not_convert
def decode_one_by_one(vqgan: Any, tokens_BT: tf.Tensor) -> tf.Tensor:
    """Pictures uint8 [B, H, W, 3] of image tokens."""
    size = vqgan.image_size
    return tf.map_fn(
        lambda tokens_T: vqgan.decode_images(tokens_T[None])[0],
        tokens_BT,
        fn_output_signature=tf.TensorSpec([size, size, 3], tf.uint8),
    )


@tf.autograph.experimental.do_not_convert
def encode_one_by_one(vqgan: Any, images_BHWC: tf.Tensor) -> tf.Tensor:
    """Image tokens int32 [B, T] of pictures that have the VQGAN's size."""
    return tf.map_fn(
        lambda image_HWC: vqgan.encode_images(image_HWC[None])[0],
        images_BHWC,
        fn_output_signature=tf.TensorSpec([vqgan.grid_size**2], tf.int32),
    )


def decode_function(vqgan: Any) -> Callable[[Any], tf.Tensor]:
    """`decode_one_by_one` as one graph, made once a VQGAN.

    Eagerly, TensorFlow fuses less than in the graph of `generate`, and now and then a
    pixel is another.
    """
    tokens = tf.TensorSpec([None, vqgan.grid_size**2], tf.int32)
    return _graph_of(vqgan, decode_one_by_one, tokens)


def encode_function(vqgan: Any) -> Callable[[Any], tf.Tensor]:
    """`encode_one_by_one` as one graph, made once a VQGAN."""
    size = vqgan.image_size
    images = tf.TensorSpec([None, size, size, 3], tf.uint8)
    return _graph_of(vqgan, encode_one_by_one, images)


def _graph_of(vqgan, function, spec):
    # Past Keras's `__setattr__`, which would track the dictionary as a model's part.
    graphs = vqgan.__dict__.setdefault("_one_by_one_graphs", {})
    if function not in graphs:
        graphs[function] = tf.function(
            lambda x: function(vqgan, x), input_signature=[spec], autograph=False
        )
    return graphs[function]
