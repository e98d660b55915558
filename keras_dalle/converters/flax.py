"""Flax checkpoints (`flax_model.msgpack`), read and written tensor by tensor.

The format is that of `flax.serialization`: one msgpack map of maps whose leaves
are extensions. Nothing here needs flax, JAX or pickle.
"""

import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import msgpack
import numpy as np

from keras_dalle.converters.flax_index import CHUNKED_KEY, EXT_NDARRAY, index_of
from keras_dalle.converters.msgpack_cursor import bytes_header, extension_header
from keras_dalle.converters.tensors import StoredTensor
from keras_dalle.utils.atomic import atomic_file
from keras_dalle.utils.files import read_json, require_files
from keras_dalle.utils.foreign_values import shortened

INDEX_SUFFIX = ".index.json"

# Mega's float32 file is cut into 3.
_MAX_SHARDS = 1000

# Arrays over so many bytes are stored as a map of flat pieces.
MAX_CHUNK_BYTES = 2**30

# === Reading ===


def open_flax_msgpack(path: str | os.PathLike) -> dict[str, StoredTensor]:
    """Indexes a flax msgpack file, or the shards of one, without reading its arrays.

    Args:
        path: a file written by `flax.serialization.to_bytes` or `save_pretrained`.
            Where it is missing, `<path>.index.json` of `save_pretrained` names the
            files beside it that hold its shards.

    Returns:
        `{"model/encoder/embed_tokens/embedding": tensor, ...}`: the nested keys
        joined by "/", in the file's order.

    Raises:
        FileNotFoundError: there is no such file, or a shard is missing.
        ValueError: a file is truncated, corrupt or not a map of arrays.
    """
    path = Path(path)
    index = path.with_name(path.name + INDEX_SUFFIX)
    if path.exists():
        return index_of(path)
    if index.exists():
        return _open_shards(index)
    raise FileNotFoundError(
        f"A flax checkpoint must be in {path}, or in the shards that {index.name} "
        "beside it lists. Neither file exists."
    )


def _open_shards(index: Path) -> dict[str, StoredTensor]:
    content = read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise ValueError(
            f"{index} must map the tensors' names to files in `weight_map`. "
            f"Received: {shortened(weight_map)}."
        )
    expected: dict[str, set[str]] = {}
    for name, shard in weight_map.items():
        expected.setdefault(str(shard), set()).add(name)
    shards = sorted(expected)
    if len(shards) > _MAX_SHARDS:
        raise ValueError(
            f"{index} must name at most {_MAX_SHARDS} files. Received: {len(shards)}."
        )
    strangers = [
        name for name in shards if PurePath(name).name != name or name in ("", "..")
    ]
    if strangers:
        raise ValueError(
            f"{index} must name files beside it. Received: {shortened(strangers)}."
        )
    require_files(index.parent, shards, "sharded flax checkpoint")
    tensors: dict[str, StoredTensor] = {}
    for shard in shards:
        found = index_of(index.parent / shard)
        lacking = sorted(expected[shard] - set(found))
        additional = sorted(set(found) - expected[shard])
        if lacking or additional:
            raise ValueError(
                f"{index.parent / shard} must hold what {index.name} says. It lacks "
                f"{shortened(lacking)} and has in addition {shortened(additional)}."
            )
        tensors.update(found)
    return tensors


# === Writing ===


def write_flax_msgpack(
    path: str | os.PathLike, tensors: Mapping[str, StoredTensor]
) -> None:
    """Writes a checkpoint byte for byte as `flax.serialization.to_bytes` does.

    Keys are sorted, as they are in every tree that has been through JAX. One tensor
    at a time is in memory.

    Args:
        path: the file to write.
        tensors: "/"-joined keys -> tensor.

    Raises:
        ValueError: a name is also the prefix of another one.
    """
    with atomic_file(path) as file:
        _write_tree(file, _nested(tensors))


def _nested(tensors: Mapping[str, StoredTensor]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, tensor in tensors.items():
        *parents, leaf = name.split("/")
        node: Any = tree
        for parent in parents:
            node = node.setdefault(parent, {}) if isinstance(node, dict) else None
        if not isinstance(node, dict) or leaf in node:
            raise ValueError(
                "A tensor's name must not be the beginning of another one. "
                f"Received: {shortened(name)}."
            )
        node[leaf] = tensor
    return tree


def _write_tree(file: BinaryIO, tree: Mapping[str, Any]) -> None:
    file.write(msgpack.Packer().pack_map_header(len(tree)))
    for key in sorted(tree):
        file.write(msgpack.packb(key))
        value = tree[key]
        if isinstance(value, StoredTensor):
            _write_tensor(file, value)
        else:
            _write_tree(file, value)


def _write_tensor(file: BinaryIO, tensor: StoredTensor) -> None:
    array = np.ascontiguousarray(tensor.read()).reshape(tensor.shape)
    if array.nbytes <= MAX_CHUNK_BYTES:
        _write_array(file, array)
        return
    flat = array.reshape(-1)
    size = max(1, MAX_CHUNK_BYTES // array.itemsize)
    chunks = [flat[i : i + size] for i in range(0, flat.size, size)]
    packer = msgpack.Packer()
    file.write(packer.pack_map_header(3))
    file.write(packer.pack(CHUNKED_KEY) + packer.pack(True))
    shape = {str(i): length for i, length in enumerate(array.shape)}
    file.write(packer.pack("shape") + packer.pack(shape))
    file.write(packer.pack("chunks") + packer.pack_map_header(len(chunks)))
    for i, chunk in enumerate(chunks):
        file.write(packer.pack(str(i)))
        _write_array(file, chunk)


def _write_array(file: BinaryIO, array: np.ndarray) -> None:
    head = (
        msgpack.Packer().pack_array_header(3)
        + msgpack.packb(array.shape)
        + msgpack.packb(array.dtype.name)
        + bytes_header(array.nbytes)
    )
    file.write(extension_header(EXT_NDARRAY, len(head) + array.nbytes))
    file.write(head)
    file.write(array.reshape(-1).view(np.uint8).data)
