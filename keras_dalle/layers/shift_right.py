"""Targets to decoder inputs."""

# B batch, T tokens

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_dalle")
class ShiftRight(keras.layers.Layer):
    """Puts a start token before each row and drops the last: [B, T] to [B, T]."""

    def __init__(self, start_token_id, **kwargs):
        super().__init__(**kwargs)
        self.start_token_id = start_token_id

    def call(self, tokens_BT):
        start_B1 = ops.full_like(tokens_BT[:, :1], self.start_token_id)
        return ops.concatenate([start_B1, tokens_BT[:, :-1]], axis=1)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "start_token_id": self.start_token_id}
