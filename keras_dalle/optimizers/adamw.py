"""AdamW that passes over memory once."""

import keras
import tensorflow as tf
from tensorflow.experimental import dtensor


@keras.saving.register_keras_serializable(package="keras_dalle")
class AdamW(keras.optimizers.AdamW):
    """Keras's AdamW, with TensorFlow's one operation for the update of a variable.

    Keras's own update is a dozen operations, each of which reads and writes an array
    as large as the variable. Arguments, slots and results are Keras's. On a DTensor
    mesh, which cannot divide the operation, and with `amsgrad`, so is the update.

    Args:
        *args, **kwargs: of `keras.optimizers.AdamW`.
    """

    def update_step(self, gradient, variable, learning_rate):
        if self.amsgrad or isinstance(_unwrapped(variable), dtensor.DVariable):
            super().update_step(gradient, variable, learning_rate)
            return
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
