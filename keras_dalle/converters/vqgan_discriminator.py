"""The PatchGAN discriminator beside a VQGAN in taming-transformers' checkpoints."""

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_dalle.converters.mapping import Rule, Transform, assign_weights
from keras_dalle.converters.tensors import StoredTensor
from keras_dalle.converters.torch import open_torch_checkpoint
from keras_dalle.converters.vqgan_names import TORCH_CONVOLUTION, largest_number
from keras_dalle.models.vqgan.discriminator import PatchDiscriminator
from keras_dalle.utils.foreign_values import shortened

PREFIX = "loss.discriminator."

_PER_CHANNEL = Transform(
    load=lambda scale_1C11: scale_1C11.reshape(-1),
    save=lambda scale_C: scale_C.reshape(1, -1, 1, 1),
)
_LAYER = r"(main)_(\d+)"
DISCRIMINATOR_TABLE = [
    Rule(f"{_LAYER}/kernel", r"\1.\2.weight", TORCH_CONVOLUTION),
    Rule(f"{_LAYER}/(bias|beta)", r"\1.\2.bias"),
    Rule(f"{_LAYER}/gamma", r"\1.\2.weight"),
    Rule(f"{_LAYER}/moving_mean", r"\1.\2.running_mean"),
    Rule(f"{_LAYER}/moving_variance", r"\1.\2.running_var"),
    Rule(f"{_LAYER}/batches", r"\1.\2.num_batches_tracked"),
    Rule(f"{_LAYER}/shift", r"\1.\2.loc", _PER_CHANNEL),
    Rule(f"{_LAYER}/scale", r"\1.\2.scale", _PER_CHANNEL),
    Rule(f"{_LAYER}/initialized", r"\1.\2.initialized"),
]
# Integers in PyTorch, floats here.
_COUNTERS = r".+\.(num_batches_tracked|initialized)"


def load_taming_discriminator(
    path: str | os.PathLike, **kwargs: Any
) -> PatchDiscriminator:
    """The discriminator of a VQModel's checkpoint.

    Args:
        path: the .ckpt, with tensors `loss.discriminator.*`.
        **kwargs: further arguments of `PatchDiscriminator`, e.g. `dtype`.

    Raises:
        ImportError: PyTorch is not installed.
        ValueError: the file is damaged, or has no discriminator that fits together.
    """
    tensors = {
        name.removeprefix(PREFIX): tensor
        for name, tensor in open_torch_checkpoint(path).items()
        if name.startswith(PREFIX)
    }
    return discriminator_from_tensors(tensors, source=os.fspath(path), **kwargs)


def discriminator_from_tensors(
    tensors: Mapping[str, StoredTensor], source: str, **kwargs: Any
) -> PatchDiscriminator:
    """A discriminator of the sizes that its tensors show.

    Args:
        tensors: of taming-transformers' `NLayerDiscriminator`: `main.0.weight` etc.
        source: where they come from, for the error's text.
        **kwargs: further arguments of `PatchDiscriminator`, e.g. `dtype`.

    Raises:
        ValueError: tensors are missing, unexpected or misshapen, by name.
    """
    first = tensors.get("main.0.weight")
    if first is None or len(first.shape) != 4:
        raise ValueError(
            f"{source} must hold a discriminator's first kernel, main.0.weight, with "
            f"4 axes. Received: {shortened(sorted(tensors))}."
        )
    discriminator = PatchDiscriminator(
        filters=first.shape[0],
        in_channels=first.shape[1],
        num_layers=(largest_number(tensors, r"main\.(\d+)\.") - 2) // 3,
        norm="actnorm" if "main.3.loc" in tensors else "batch",
        **kwargs,
    )
    as_floats = {
        name: _as_float(tensor) if re.fullmatch(_COUNTERS, name) else tensor
        for name, tensor in tensors.items()
    }
    assign_weights(discriminator, as_floats, DISCRIMINATOR_TABLE, source)
    return discriminator


def _as_float(tensor: StoredTensor) -> StoredTensor:
    return StoredTensor(
        tensor.shape,
        np.dtype("float32"),
        lambda: tensor.read().astype("float32"),
    )
