"""Smaller weight files."""

import os
from pathlib import Path

import h5py
import numpy as np

from keras_dalle.utils.atomic import atomic_path


def store_half_precision(preset_directory: str | os.PathLike) -> None:
    """Rewrites a preset's `*.weights.h5` with float16 in place of float32, compressed.

    Keras casts what it reads to the dtype of the variable, so the preset loads as
    before, at half the size.

    Args:
        preset_directory: a folder written by `save_to_preset`.
    """
    for path in sorted(Path(preset_directory).glob("*.weights.h5")):
        with (
            atomic_path(path) as partial,
            h5py.File(path) as source,
            h5py.File(partial, "w") as target,
        ):
            source.visititems(lambda name, item: _copy(name, item, target))


def _copy(name, item, target):
    if isinstance(item, h5py.Group):
        group = target.require_group(name)
        group.attrs.update(item.attrs)
        return
    values = item[()]
    if values.dtype == np.float32:
        values = values.astype(np.float16)
    compression = {"compression": "gzip", "shuffle": True} if values.ndim else {}
    dataset = target.create_dataset(name, data=values, **compression)
    dataset.attrs.update(item.attrs)
