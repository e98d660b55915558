"""The shapes of the tensors in Keras's weight files, read without their values."""

import os
from pathlib import Path, PurePath
from typing import Any

import h5py

from keras_dalle.utils.files import read_json, require_files, require_regular_file
from keras_dalle.utils.foreign_values import described, shortened

_MAX_OBJECTS = 200_000
_MAX_SHARDS = 1000
# gzip packs zeros to a thousandth, and a model's weights to a half.
_MAX_EXPANSION = 100
_SMALL = 2**26


def weight_shapes(path: str | os.PathLike) -> dict[str, tuple[int, ...]]:
    """Returns the shapes in a `.weights.h5`, or in the shards of a `.weights.json`.

    Returns:
        Keras's name, such as "layers/embedding/vars/0" -> shape.

    Raises:
        FileNotFoundError: there is no such file, or a shard is missing.
        ValueError: a file is damaged, holds something else than numbers, or unpacks to
            far more bytes than it has; the message names it.
    """
    path = Path(path)
    if path.suffix == ".json":
        return _shapes_of_shards(path)
    require_regular_file(path)
    try:
        with h5py.File(path, "r") as file:
            shapes, unpacked = _walk(file)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged or not one of Keras's weight files "
            f"({described(error)}). Copy or download it again."
        ) from error
    if unpacked > _SMALL and unpacked > _MAX_EXPANSION * path.stat().st_size:
        raise ValueError(
            f"{path} must hold the weights that it names. Received: "
            f"{path.stat().st_size} bytes for {unpacked} of weights."
        )
    return shapes


def _walk(file: h5py.File) -> tuple[dict[str, tuple[int, ...]], int]:
    """Returns shapes by name, and the number of bytes of all together."""
    shapes: dict[str, tuple[int, ...]] = {}
    sizes: list[int] = []
    seen = 0

    def visit(name: str, item: Any) -> None:
        nonlocal seen
        seen += 1
        if seen > _MAX_OBJECTS:
            raise ValueError(f"it has more than {_MAX_OBJECTS} parts")
        if isinstance(item, h5py.Dataset):
            dtype = item.dtype
            # Keras writes bfloat16 as two bytes without a type.
            if dtype.kind not in "fiubV" or dtype.names or dtype.subdtype:
                raise ValueError(f"{shortened(name)} has the type {dtype}")
            shapes[name] = tuple(item.shape or ())
            size = dtype.itemsize
            for length in shapes[name]:
                size *= length
            sizes.append(size)

    file.visititems(visit)
    return shapes, sum(sizes)


def shard_names(path: str | os.PathLike) -> list[str]:
    """Returns the files that a `.weights.json` names beside it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or names files elsewhere.
    """
    content = read_json(path)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    entries = list(weight_map.values()) if isinstance(weight_map, dict) else []
    names = {
        str(name)
        for entry in entries
        for name in (entry if isinstance(entry, list) else [entry])
    }
    if not names or any(
        PurePath(name).name != name or name in ("", "..") for name in names
    ):
        raise ValueError(
            f"{path} must name the files of its shards, beside it, in `weight_map`. "
            f"Received: {shortened(weight_map)}."
        )
    if len(names) > _MAX_SHARDS:
        raise ValueError(
            f"{path} must name at most {_MAX_SHARDS} files. Received: {len(names)}."
        )
    return sorted(names)


def _shapes_of_shards(path: Path) -> dict[str, tuple[int, ...]]:
    names = shard_names(path)
    require_files(path.parent, names, "sharded preset's weights")
    shapes: dict[str, tuple[int, ...]] = {}
    for name in names:
        shapes.update(weight_shapes(path.parent / name))
    return shapes
