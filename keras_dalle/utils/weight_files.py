"""Weight files: room for them, whether they are whole, and smaller ones."""

import math
import os
import tempfile
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes  # noqa: F401  NumPy knows "bfloat16" from it.
import numpy as np

from keras_dalle.utils.atomic import atomic_path

# A generous size for a preset's files beside its weights.
HEADERS = 2**20


def check_room(folder: str | os.PathLike, model: Any) -> None:
    """Raises OSError unless a folder's disk has room for a model's weights.

    HDF5 must not meet a full disk: if it cannot write when it closes a file, h5py 3.16
    ends the process by SIGSEGV or says nothing (tests/trainer/test_damaged_runs.py).

    Args:
        folder: an existing folder.
        model: a `keras.Model`.
    """
    sizes = (
        math.prod(variable.shape) * np.dtype(variable.dtype).itemsize
        for variable in model.variables
    )
    _take_room(folder, sum(sizes) + HEADERS)


def _take_room(folder: str | os.PathLike, size: int) -> None:
    with tempfile.TemporaryFile(dir=os.fspath(folder)) as file:
        if hasattr(os, "posix_fallocate"):  # macOS has none.
            os.posix_fallocate(file.fileno(), 0, size)


def check_weight_files(preset_directory: str | os.PathLike) -> None:
    """Raises OSError unless each `*.weights.h5` of a preset is whole.

    HDF5 notices a full disk when it closes a file, and h5py ignores that error.
    """
    for path in sorted(Path(preset_directory).glob("*.weights.h5")):
        try:
            with h5py.File(path):
                pass
        except OSError as error:
            raise OSError(
                f"{path} was not written whole. Is the disk full? Free some space "
                f"there, or write elsewhere. ({error})"
            ) from error


def store_half_precision(preset_directory: str | os.PathLike) -> None:
    """Rewrites a preset's `*.weights.h5` with float16 in place of float32, compressed.

    Keras casts what it reads to the dtype of the variable, so the preset loads as
    before, at half the size.

    Args:
        preset_directory: a folder written by `save_to_preset`.
    """
    for path in sorted(Path(preset_directory).glob("*.weights.h5")):
        with atomic_path(path) as partial:
            _take_room(partial.parent, path.stat().st_size)
            with h5py.File(path) as source, h5py.File(partial, "w") as target:
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
