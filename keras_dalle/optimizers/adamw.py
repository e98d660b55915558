"""AdamW that passes over memory once."""

import keras
import tensorflow as tf
from tensorflow.experimental import dtensor


@keras.saving.register_keras_serializable(package="keras_dalle")
class AdamW(keras.optimizers.AdamW):
    """Keras's AdamW in two passes over a variable: its decay, and its update.

    Keras's own update is a dozen operations, each of which reads and writes an array
    as large as the variable, and its decay is three. Here the update is TensorFlow's
    one operation for it, and the decay a product with 1 - learning rate * decay, as in
    PyTorch. Arguments, slots and results are Keras's. On a DTensor mesh, which cannot
    divide the operation, and with `amsgrad`, so are decay and update.

    Args:
        *args, **kwargs: of `keras.optimizers.AdamW`.
    """

    def _apply_weight_decay(self, variables):
        """Private in Keras: decays, before the updates, what `update_step` does not."""
        super()._apply_weight_decay([v for v in variables if not self._is_fused(v)])

    def _is_fused(self, variable):
        on_mesh = isinstance(_unwrapped(variable), dtensor.DVariable)
        return not (self.amsgrad or on_mesh)

    def update_step(self, gradient, variable, learning_rate):
        if not self._is_fused(variable):
            super().update_step(gradient, variable, learning_rate)
            return
        if self.weight_decay is not None and self._use_weight_decay(variable):
            decay = tf.cast(learning_rate * self.weight_decay, variable.dtype)
            variable.assign(variable * (1 - decay))
        index = self._get_variable_index(variable)
        slots = self._momentums[index], self._velocities[index]
        dtype = variable.dtype
        step = tf.cast(self.iterations + 1, dtype)
        beta_1, beta_2 = tf.cast(self.beta_1, dtype), tf.cast(self.beta_2, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=_unwrapped(variable).handle,
            m=_unwrapped(slots[0]).handle,
            v=_unwrapped(slots[1]).handle,
            beta1_power=tf.pow(beta_1, step),
            beta2_power=tf.pow(beta_2, step),
            lr=tf.cast(learning_rate, dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.cast(self.epsilon, dtype),
            grad=tf.cast(tf.convert_to_tensor(gradient), dtype),
        )


def _unwrapped(variable):
    """The TensorFlow variable in a Keras variable, or as it is given."""
    return variable.value if isinstance(variable, keras.Variable) else variable
