"""Token embeddings whose gradient every optimizer reads rightly."""

import keras
from keras import ops

from keras_dalle.layers.narrow_weights import BFLOAT16, NarrowWeights


@keras.saving.register_keras_serializable(package="keras_dalle")
class Embedding(keras.layers.Embedding):
    """Keras's layer with a dense gradient.

    TensorFlow gives the gradient of a lookup as slices, one a token, and a token that
    occurs twice has two. Keras 3.15's Adam, AdamW and clipping square each of them
    instead of their sum: three steps of AdamW at 1e-2 went 1.7e-2 astray, on one
    device, and summing over replicas only adds slices.

    With `NarrowWeights` the table is bfloat16.

    Args:
        *args, **kwargs: of `keras.layers.Embedding`.
    """

    def add_weight(self, *args, **kwargs):
        if isinstance(self.dtype_policy, NarrowWeights):
            kwargs |= {"dtype": BFLOAT16, "trainable": False}
        return super().add_weight(*args, **kwargs)

    def call(self, inputs, training=None):
        if not training:
            return super().call(inputs)
        # The product, which changes no bit and which the graph's optimizer takes out,
        # has a dense gradient.
        table = ops.multiply(self.embeddings, 1.0)
        rows = ops.take(table, ops.cast(inputs, "int32"), axis=0)
        return ops.cast(rows, self.compute_dtype)
