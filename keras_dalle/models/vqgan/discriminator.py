"""PatchGAN: tells pictures from reconstructions, patch by patch."""

# B batch, H height, W width

import keras

from keras_dalle.layers.patch_norms import ActNorm, TorchBatchNorm

NORMS = {"batch": TorchBatchNorm, "actnorm": ActNorm}
# Filters grow with each convolution, up to this multiple of the first one's.
_MAX_MULTIPLE = 8


@keras.saving.register_keras_serializable(package="keras_dalle")
class PatchDiscriminator(keras.Model):
    """Logits of overlapping patches: above 0 for a picture, below for a forgery.

    Isola et al. (2017), "Image-to-Image Translation with Conditional Adversarial
    Networks", section 3.2.2, with the sizes of taming-transformers'
    `NLayerDiscriminator`. Layers are numbered as in its sequence: `main_0`, `main_2`
    and so on.

    Args:
        filters: int. Filters of the first convolution.
        num_layers: int. Convolutions that halve the grid.
        norm: `"batch"` (see `TorchBatchNorm`) or `"actnorm"` (see `ActNorm`).
        in_channels: int. Channels of a picture.
        dtype: string or `keras.DTypePolicy`.

    Call arguments:
        images: float [B, H, W, in_channels].

    Returns:
        Logits, float [B, H', W', 1].

    Raises:
        ValueError: `norm` is unknown.
    """

    def __init__(
        self,
        filters=64,
        num_layers=3,
        norm="batch",
        in_channels=3,
        dtype=None,
        **kwargs,
    ):
        if norm not in NORMS:
            raise ValueError(
                f"`norm` must be one of {list(NORMS)}. Received: {norm!r}."
            )
        images = keras.Input((None, None, in_channels), name="images")
        x = images
        for layer in _layers(filters, num_layers, norm, dtype):
            x = layer(x)
        super().__init__(inputs=images, outputs=x, **kwargs)
        self.filters = filters
        self.num_layers = num_layers
        self.norm = norm
        self.in_channels = in_channels
        self.dtype_policy = keras.dtype_policies.get(dtype)

    def get_config(self):
        return {
            "filters": self.filters,
            "num_layers": self.num_layers,
            "norm": self.norm,
            "in_channels": self.in_channels,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "name": self.name,
            "trainable": self.trainable,
        }


def _layers(filters, num_layers, norm, dtype):
    layers = [*_convolution(0, filters, 2, True, dtype), _leaky_relu(dtype)]
    for depth in range(1, num_layers + 1):
        position = 3 * depth - 1
        layers += _convolution(
            position,
            filters * min(2**depth, _MAX_MULTIPLE),
            strides=2 if depth < num_layers else 1,
            use_bias=norm != "batch",  # its shift takes the bias's place
            dtype=dtype,
        )
        layers.append(NORMS[norm](dtype=dtype, name=f"main_{position + 1}"))
        layers.append(_leaky_relu(dtype))
    return layers + _convolution(3 * num_layers + 2, 1, 1, True, dtype)


def _convolution(position, filters, strides, use_bias, dtype):
    """A 4×4 convolution with a border of one pixel on all sides."""
    return [
        keras.layers.ZeroPadding2D(1, dtype=dtype),
        keras.layers.Conv2D(
            filters,
            4,
            strides=strides,
            use_bias=use_bias,
            dtype=dtype,
            name=f"main_{position}",
        ),
    ]


def _leaky_relu(dtype):
    return keras.layers.LeakyReLU(0.2, dtype=dtype)
