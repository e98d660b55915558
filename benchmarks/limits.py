"""What a machine allows: how fast it reads memory and multiplies, and what a model of
DALL·E mini's size needs of both.

Of a token, the decoder's weights are read once whatever the batch; each row multiplies
with all of them. A batch cannot take less than the longer of the two. The counts were
compared: the weights with those of min-dalle's decoder, the FLOPs of the VQGAN with
PyTorch's `FlopCounterMode` on min-dalle's detokenizer and taming-transformers' encoder.
"""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

BYTES = 4  # of a float32
ARRAY = 32 * 2**20  # elements a thread reads: far more than the caches hold
MATRIX = 3072  # rows of the square matrices that are multiplied
ATTEMPTS = 3


def measure_machine(threads: int) -> dict[str, float]:
    """Bytes a second that `threads` threads read together, and FLOPs a second.

    The best of a few attempts of a dot product a thread (NumPy) and of the product of
    two square matrices (TensorFlow, whose matrix products were the fastest of
    TensorFlow's, PyTorch's and NumPy's).
    """
    import numpy as np
    import tensorflow as tf

    arrays = np.ones((threads, ARRAY), np.float32)
    matrix = tf.random.normal((MATRIX, MATRIX))
    with ThreadPoolExecutor(threads) as pool:
        reading = _best(lambda: list(pool.map(lambda x: x @ x, arrays)))
    multiplying = _best(lambda: tf.matmul(matrix, matrix).numpy())
    return {
        "bytes_per_second": arrays.nbytes / reading,
        "flops_per_second": 2 * MATRIX**3 / multiplying,
    }


def _best(function: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(1 + ATTEMPTS):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def decoder_weights(sizes: dict[str, int]) -> int:
    """Weights that a token reads: keys and values of the text are there already.

    Args:
        sizes: arguments of a `DalleBartBackbone`.
    """
    width, inner = sizes["hidden_dim"], sizes["decoder_intermediate_dim"]
    self_attention, cross_attention = 4 * width**2, 2 * width**2
    layer = self_attention + cross_attention + 3 * width * inner
    head = width * (sizes["image_vocabulary_size"] + 1)
    return sizes["num_decoder_layers"] * layer + head


def tokens_seconds(
    sizes: dict[str, int], batch: int, machine: dict[str, float]
) -> float:
    """Least seconds for the image tokens of a batch with guidance."""
    weights, length = decoder_weights(sizes), sizes["image_length"]
    rows = 2 * batch
    seen = (length + 1) / 2 + sizes["max_text_length"]
    attention = 2 * seen * sizes["hidden_dim"] * sizes["num_decoder_layers"]
    flops = 2 * (weights + attention) * rows * length
    return max(
        BYTES * weights * length / machine["bytes_per_second"],
        flops / machine["flops_per_second"],
    )


# === VQGAN f16-16384 ===

CHANNELS = (128, 128, 256, 256, 512)  # of each level, from 256×256 pixels down
LATENT, CODES, GRID, PIXELS = 256, 16384, 16, 256


def decode_flops() -> int:
    """Of one picture from its tokens."""
    top = CHANNELS[-1]
    parts = [_conv(1, LATENT, LATENT, GRID), _conv(3, LATENT, top, GRID), _middle()]
    channels, side = top, GRID
    for level, width in reversed(list(enumerate(CHANNELS))):
        parts += _level(channels, width, side, blocks=3)
        channels = width
        if level:
            side *= 2
            parts.append(_conv(3, width, width, side))
    return sum([*parts, _conv(3, channels, 3, PIXELS)])


def encode_flops() -> int:
    """Of the tokens of one picture."""
    channels, side = CHANNELS[0], PIXELS
    parts = [_conv(3, 3, channels, side)]
    for level, width in enumerate(CHANNELS):
        parts += _level(channels, width, side, blocks=2)
        channels = width
        if level < len(CHANNELS) - 1:
            side //= 2
            parts.append(_conv(3, width, width, side))
    nearest = 2 * GRID**2 * LATENT * CODES
    last = _conv(3, channels, LATENT, GRID) + _conv(1, LATENT, LATENT, GRID)
    return sum([*parts, _middle(), last, nearest])


def _level(channels: int, width: int, side: int, blocks: int) -> Iterable[int]:
    for _ in range(blocks):
        yield _residual(channels, width, side)
        if side == GRID:
            yield _attention(width, side)
        channels = width


def _middle() -> int:
    top = CHANNELS[-1]
    return 2 * _residual(top, top, GRID) + _attention(top, GRID)


def _residual(channels: int, width: int, side: int) -> int:
    convolutions = _conv(3, channels, width, side) + _conv(3, width, width, side)
    shortcut = _conv(1, channels, width, side) if channels != width else 0
    return convolutions + shortcut


def _attention(width: int, side: int) -> int:
    products = 2 * 2 * side**4 * width
    return 4 * _conv(1, width, width, side) + products


def _conv(kernel: int, channels: int, width: int, side: int) -> int:
    return 2 * kernel**2 * channels * width * side**2
