"""VQGANs of all original projects, by what their folders hold."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_dalle.converters.vqgan_flax import load_flax_vqgan, save_flax_vqgan
from keras_dalle.converters.vqgan_min_dalle import (
    load_min_dalle_vqgan,
    save_min_dalle_vqgan,
)
from keras_dalle.converters.vqgan_taming import load_taming_vqgan, save_taming_vqgan
from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone

# A file that tells the format, and its loader; the first that fits wins.
_LOADERS: tuple[tuple[str, Callable[..., VQGANBackbone]], ...] = (
    ("flax_model.msgpack*", load_flax_vqgan),
    ("*.ckpt", load_taming_vqgan),
    ("checkpoints/*.ckpt", load_taming_vqgan),
    ("detoker.pt", load_min_dalle_vqgan),
)

SAVERS: dict[str, Callable[..., None]] = {
    "flax": save_flax_vqgan,
    "torch": save_taming_vqgan,
    "min-dalle": save_min_dalle_vqgan,
}


def load_vqgan(
    directory: str | os.PathLike, load_weights: bool = True, **kwargs: Any
) -> VQGANBackbone:
    """A `VQGANBackbone` from a folder of vqgan-jax, taming-transformers or min-dalle.

    Args:
        directory: holds flax_model.msgpack, a .ckpt or detoker.pt.
        load_weights: whether to read the weights.
        **kwargs: further arguments of the format's loader: `notes`, `on_assigned`,
            and those of `VQGANBackbone`.

    Raises:
        FileNotFoundError: the folder holds none of these files.
        ValueError: a file is damaged or unsupported.
    """
    for pattern, load in _LOADERS:
        if any(Path(directory).glob(pattern)):
            return load(directory, load_weights, **kwargs)
    raise FileNotFoundError(
        f"{os.fspath(directory)} must hold a VQGAN's weights: flax_model.msgpack with "
        "config.json, a .ckpt with its .yaml, or min-dalle's detoker.pt."
    )
