"""Models whose weights are narrowed when they are loaded, not by `quantize`."""

from keras_dalle.utils.foreign_values import shortened


class NarrowByLoading:
    """Refuses `quantize`, which would change only some layers and make them slower.

    Keras's product of int8 is slower than float32's on a CPU. Mix it into a
    `keras.Model`, in front of it.

    Attributes:
        instead_of_quantize: the remedy that the error names.
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
