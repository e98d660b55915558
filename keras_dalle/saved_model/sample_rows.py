"""Rows to call any signature with: made from what the SavedModel says of itself."""

# B batch, T image tokens, H height, W width, C colour

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

PROMPTS = ("red heart", "woman firefighter: dark skin tone", "rocket", "Σ 🚀 naïve")
# Below the size of every codebook.
_NUM_CODES = 16

Signatures = Mapping[str, meta_graph_pb2.SignatureDef]


def sample_rows(
    name: str, signatures: Signatures, num_rows: int
) -> dict[str, np.ndarray]:
    """Good rows for a signature: prompts, and the defaults where there are any.

    Pictures and tokens that go in travel as byte strings; their sizes are those of the
    pictures and tokens that come out of another signature.

    Args:
        name: of the signature.
        signatures: all of the SavedModel, by name.
        num_rows: B.

    Returns:
        Arrays [B] by input.
    """
    signature = signatures[name]
    rows = {}
    for alias, info in signature.inputs.items():
        dtype = tf.dtypes.as_dtype(info.dtype).as_numpy_dtype
        is_wanted = alias not in signature.defaults or (name, alias) in _WANTED
        if is_wanted and alias in _SAMPLES:
            values = _SAMPLES[alias](signatures, num_rows)
        elif alias in signature.defaults:
            values = tf.make_ndarray(signature.defaults[alias]).tolist() * num_rows
        else:
            values = [b"" if info.dtype == types_pb2.DT_STRING else 0] * num_rows
        rows[alias] = np.array(values, dtype)
    return rows


def _prompts(_: Signatures, num_rows: int) -> list[bytes]:
    return [PROMPTS[i % len(PROMPTS)].encode() for i in range(num_rows)]


def _pixels(signatures: Signatures, num_rows: int) -> list[bytes]:
    """Noise as raw RGB."""
    shape = _output_shape(signatures, "image")
    noise = np.random.default_rng(0).integers(0, 256, (num_rows, *shape), np.uint8)
    return [image_HWC.tobytes() for image_HWC in noise]


def _tokens(signatures: Signatures, num_rows: int) -> list[bytes]:
    """Codes as little-endian int32."""
    shape = _output_shape(signatures, "image_tokens")
    codes = np.random.default_rng(0).integers(0, _NUM_CODES, (num_rows, *shape))
    return [tokens_T.astype("<i4").tobytes() for tokens_T in codes]


def _output_shape(signatures: Signatures, alias: str) -> tuple[int, ...]:
    """The shape of a row of the output of this name, which some signature has."""
    for signature in signatures.values():
        if alias in signature.outputs:
            dims = signature.outputs[alias].tensor_shape.dim
            return tuple(dim.size for dim in dims[1:])
    return (0,)


_SAMPLES: dict[str, Callable[[Signatures, int], list]] = {
    "prompt": _prompts,
    "image_bytes": _pixels,
    "image_tokens_bytes": _tokens,
    "kept_rows": lambda _, num_rows: [1] * num_rows,
}
# With the default of these a row would be faulty: one of several inputs must be given.
_WANTED = {("score", "image_tokens_bytes"), ("complete_image", "kept_rows")}
