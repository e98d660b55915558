"""Models whose weights are narrowed when they are loaded, not by `quantize`."""

from keras_dalle.utils.foreign_values import shortened


class NarrowByLoading:
    """Refuses `quantize`, which would change a part of the layers, and for the worse.

    Keras's product of int8 is slower than float32's on a CPU. To be mixed into a
    `keras.Model`, in front of it.

    Attributes:
        instead_of_quantize: what an error tells to do.
    """

    instead_of_quantize: str

    def quantize(self, mode=None, config=None, filters=None, **kwargs):
        """Refuses; see `instead_of_quantize`.

        Raises:
            ValueError: always.
        """
        # Keras makes a configuration of a mode's name.
        mode = mode if config is None else getattr(config, "mode", config)
        raise ValueError(
            f"`quantize` must not be called on a {type(self).__name__}. Received: "
            f"{shortened(mode)}. {self.instead_of_quantize}"
        )
