"""Where the arrays of one flax msgpack file are, and reading them from there.

flax.serialization stores an array as an extension that holds msgpack of (shape,
dtype's name, bytes), and one over 2**30 bytes as a map of flat pieces.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  numpy knows "bfloat16" once this is imported
import numpy as np

from keras_dalle.converters.msgpack_cursor import Cursor
from keras_dalle.converters.tensors import StoredTensor, num_bytes
from keras_dalle.utils.files import require_regular_file
from keras_dalle.utils.foreign_values import one_line, shortened

# Extension codes of flax.serialization.
EXT_NDARRAY = 1
_EXT_COMPLEX = 2
_EXT_SCALAR = 3
CHUNKED_KEY = "__msgpack_chunked_array__"

_MAX_DEPTH = 32
_MAX_TENSORS = 100_000
_MAX_RANK = 32
# The length of all names together: in a file of 1 MB, each tensor can lie below 32 keys
# of 4 KB each.
_MAX_NAME_CHARACTERS = 2**25


def index_of(path: Path) -> dict[str, StoredTensor]:
    """Indexes one file without reading its arrays.

    Returns:
        The nested keys joined by "/" -> tensor, in the file's order.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, corrupt or not a map of arrays.
    """
    require_regular_file(path)
    with path.open("rb") as file:
        cursor = Cursor(file)
        try:
            tensors = dict(_FileIndex(path, cursor).tensors())
            if not cursor.is_at_end:
                raise ValueError(f"more follows after byte {cursor.position}")
        except (ValueError, TypeError, MemoryError) as error:
            raise ValueError(
                f"{str(path)!r} is not a complete flax msgpack file: "
                f"{one_line(str(error))}. Copy or download the file again."
            ) from error
    return tensors


@dataclass(frozen=True)
class _Piece:
    """A flat array in the file: where its bytes start, and how they are meant."""

    shape: tuple[int, ...]
    dtype: np.dtype
    start: int

    @property
    def nbytes(self) -> int:
        return num_bytes(self.shape, self.dtype)


class _FileIndex:
    """Walks one file's tree once and notes where the arrays are."""

    def __init__(self, path: Path, cursor: Cursor) -> None:
        self._path = path
        self._cursor = cursor
        self._names: set[str] = set()
        self._name_characters = 0

    def tensors(self) -> Iterator[tuple[str, StoredTensor]]:
        yield from self._map(self._cursor.next("map").value, "", depth=0)

    def _map(
        self, count: int, prefix: str, depth: int
    ) -> Iterator[tuple[str, StoredTensor]]:
        if depth > _MAX_DEPTH:
            raise ValueError(f"maps are nested more than {_MAX_DEPTH} deep")
        for i in range(count):
            key = self._cursor.next("text").value
            if i == 0 and key == CHUNKED_KEY:  # JAX sorts it before its siblings
                self._cursor.next("scalar")
                yield self._add(prefix, self._chunked(count - 1, prefix))
                return
            name = f"{prefix}/{key}" if prefix else key
            token = self._cursor.next("map", "extension", "scalar")
            if token.kind == "map":
                yield from self._map(token.value, name, depth + 1)
            elif token.kind == "extension":
                piece = self._piece(token.code, token.value)
                yield self._add(name, _tensor_of(self._path, piece.shape, [piece]))
            elif token.value is None:
                raise ValueError(f"{shortened(name)} is nil, not an array")
            else:
                yield self._add(name, StoredTensor.of(np.asarray(token.value)))

    def _add(self, name: str, tensor: StoredTensor) -> tuple[str, StoredTensor]:
        if name in self._names:
            raise ValueError(f"{shortened(name)} is there twice")
        if len(self._names) >= _MAX_TENSORS:
            raise ValueError(f"there are more than {_MAX_TENSORS} tensors")
        self._name_characters += len(name)
        if self._name_characters > _MAX_NAME_CHARACTERS:
            raise ValueError("the names of its tensors are too long")
        self._names.add(name)
        return name, tensor

    def _chunked(self, count: int, name: str) -> StoredTensor:
        """What follows `CHUNKED_KEY`: {"shape": {"0": ...}, "chunks": {"0": ...}}."""
        parts: dict[str, dict[str, Any]] = {"shape": {}, "chunks": {}}
        for _ in range(count):
            part = self._cursor.next("text").value
            if part not in parts:
                raise ValueError(
                    f"the chunked array {shortened(name)} has a part {shortened(part)}"
                )
            entries = parts[part]
            for _ in range(self._cursor.next("map").value):
                key = self._cursor.next("text").value
                token = self._cursor.next("scalar", "extension")
                is_scalar = token.kind == "scalar"
                entries[key] = (
                    token.value if is_scalar else self._piece(token.code, token.value)
                )
        shape = _checked_shape(_in_order(parts["shape"], name))
        pieces = _in_order(parts["chunks"], name)
        if (
            not pieces
            or not all(isinstance(piece, _Piece) for piece in pieces)
            or len({piece.dtype for piece in pieces}) > 1
            or sum(p.nbytes for p in pieces) != num_bytes(shape, pieces[0].dtype)
        ):
            raise ValueError(f"{shortened(name)} lacks a part of its chunked array")
        return _tensor_of(self._path, shape, pieces)

    def _piece(self, code: int, length: int) -> _Piece:
        """An extension: msgpack of (shape, dtype's name, bytes)."""
        cursor = self._cursor
        end = cursor.position + length
        if code == _EXT_COMPLEX:
            raise ValueError("complex numbers are no weights")
        if code not in (EXT_NDARRAY, _EXT_SCALAR):
            raise ValueError(f"unknown msgpack extension type {code}")
        if cursor.next("array").value != 3:
            raise ValueError("an array is not stored as (shape, dtype, bytes)")
        rank = cursor.next("array").value
        if rank > _MAX_RANK:
            raise ValueError(f"an array has {rank} axes")
        shape = _checked_shape([cursor.next("scalar").value for _ in range(rank)])
        dtype = _dtype(cursor.next("text").value)
        nbytes = cursor.next("bytes").value
        piece = _Piece(shape, dtype, cursor.skip(nbytes))
        if piece.nbytes != nbytes or cursor.position != end:
            raise ValueError(
                f"an array of shape {shape} and dtype {dtype.name} has {nbytes} bytes"
            )
        return piece


def _in_order(entries: Mapping[str, Any], name: str) -> list[Any]:
    """The values of {"0": ..., "1": ...}."""
    keys = [str(i) for i in range(len(entries))]
    if set(keys) != set(entries):
        raise ValueError(f"{shortened(name)} lacks a part of its chunked array")
    return [entries[key] for key in keys]


def _checked_shape(shape: Sequence[Any]) -> tuple[int, ...]:
    if not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(f"an array has the shape {list(shape)}")
    return tuple(shape)


def _dtype(name: str) -> np.dtype:
    dtype = np.dtype(name)
    if dtype.kind not in "biuf" and name != "bfloat16":
        raise ValueError(f"unsupported array type {shortened(name)}")
    return dtype


def _tensor_of(
    path: Path, shape: tuple[int, ...], pieces: Sequence[_Piece]
) -> StoredTensor:
    """A tensor whose bytes are those of the pieces, one after the other."""
    dtype = pieces[0].dtype

    def read_layer(i: int) -> np.ndarray:
        size = num_bytes(shape[1:], dtype)
        start = range(shape[0])[i] * size
        return _read(path, pieces, start, size).view(dtype).reshape(shape[1:])

    def read() -> np.ndarray:
        whole = _read(path, pieces, 0, num_bytes(shape, dtype))
        return whole.view(dtype).reshape(shape)

    return StoredTensor(shape, dtype, read, read_layer if shape else None)


def _read(path: Path, pieces: Sequence[_Piece], start: int, count: int) -> np.ndarray:
    """`count` bytes from the concatenation of the pieces, uint8 `[count]`.

    Read, not mapped: mapped pages would count as this process's memory.
    """
    content = np.empty(count, np.uint8)
    filled = 0
    with path.open("rb", buffering=0) as file:
        for piece in pieces:
            length = min(piece.nbytes - start, count - filled)
            if length > 0:
                file.seek(piece.start + start)
                _read_into(file, content[filled : filled + length])
                filled += length
            start = max(0, start - piece.nbytes)
    return content


def _read_into(file: Any, content: np.ndarray) -> None:
    view = content.data
    while view:
        count = file.readinto(view)
        if not count:
            raise ValueError(f"{file.name} has become shorter while it was read.")
        view = view[count:]
