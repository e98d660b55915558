"""Checks of a file of `torch.save` before PyTorch unpickles it."""

import pickletools
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from keras_dalle.utils.foreign_values import described

_ZIP_START = b"PK\x03\x04"
# The pickle of weights with a training's state has 1 MB.
_MAX_PICKLE_BYTES = 2**24
_MAX_ENTRIES = 200_000
# A tensor's tuples hold some 20 values.
_MAX_TUPLE_VALUES = 100_000
# The format before PyTorch 1.6: magic number, protocol, system, content, storages.
_OLD_FORMAT_PICKLES = 5

_MARK = object()


def check_archive(path: Path) -> bool:
    """Raises unless PyTorch can unpack a file in bounded time and memory.

    Returns:
        Whether it is a zip archive, as PyTorch has written since 1.6.

    Raises:
        ValueError: it is truncated, compressed, or holds tuples of tuples that stand
            for more values than the file has bytes.
    """
    with path.open("rb") as file:
        starts_as_zip = file.read(len(_ZIP_START)) == _ZIP_START
        is_zip = zipfile.is_zipfile(path)
        if starts_as_zip and not is_zip:
            raise ValueError(
                f"{path} is truncated: the index at its end is missing. Copy or "
                "download the file again."
            )
        if is_zip:
            for content in _descriptions(path):
                _check_tuples(path, content)
        else:
            file.seek(0)
            _check_old_format(path, file)
    return is_zip


def _descriptions(path: Path) -> list[bytes]:
    """Yields the pickles of an archive, whose entries are not compressed."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            is_compressed = any(x.compress_type != zipfile.ZIP_STORED for x in entries)
            pickles = [x for x in entries if x.filename.endswith("data.pkl")]
            sizes = [x.file_size for x in pickles]
            fits = sum(sizes) <= _MAX_PICKLE_BYTES and len(entries) <= _MAX_ENTRIES
            if fits and not is_compressed:
                return [archive.read(entry) for entry in pickles]
    # Others: a place before the file's start, and a name in an unknown encoding.
    except (zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged or not a checkpoint of PyTorch ({described(error)}). "
            "Copy or download the file again."
        ) from error
    raise ValueError(
        f"{path} must hold at most {_MAX_ENTRIES} entries, none compressed, and "
        f"describe its tensors in {_MAX_PICKLE_BYTES} bytes, as `torch.save` does. "
        f"Received: {len(entries)} entries, {'some' if is_compressed else 'none'} "
        f"compressed, and {sum(sizes)} bytes."
    )


def _check_old_format(path: Path, file: BinaryIO) -> None:
    start = file.read(_MAX_PICKLE_BYTES)
    for _ in range(_OLD_FORMAT_PICKLES):
        start = start[_check_tuples(path, start) :]


def _check_tuples(path: Path, content: bytes) -> int:
    """Follows one pickle without building anything and returns its length.

    PyTorch builds dictionaries from it, and Python hashes their keys value by value. A
    pair of pairs, 40 levels deep, stands for 2**40 values.
    """
    stack: list[Any] = []
    memory: dict[Any, int] = {}
    largest = 0
    end = 0
    try:
        for opcode, argument, position in pickletools.genops(content):
            end = (position or 0) + 1
            _step(opcode, argument, stack, memory)
            largest = max(largest, *(x for x in stack[-1:] if x is not _MARK), 0)
            if largest > _MAX_TUPLE_VALUES:
                break
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged or not a checkpoint of PyTorch ({described(error)}). "
            "Copy or download the file again."
        ) from error
    if largest > _MAX_TUPLE_VALUES:
        raise ValueError(
            f"{path} must hold tensors and plain settings. Received: a tuple of more "
            f"than {_MAX_TUPLE_VALUES} values."
        )
    return end


def _step(opcode: Any, argument: Any, stack: list[Any], memory: dict[Any, int]) -> None:
    """Applies one opcode to a stack that holds the number of values in each value."""
    name = opcode.name
    if name == "MARK":
        stack.append(_MARK)
    elif name == "MEMOIZE":
        memory[len(memory)] = stack[-1]
    elif name.endswith("PUT"):
        memory[argument] = stack[-1]
    elif name.endswith("GET"):
        stack.append(memory[argument])
    elif name == "DUP":
        stack.append(stack[-1])
    else:
        popped = _pop(opcode, stack)
        whole = 1 + sum(popped) if name.startswith("TUPLE") else 1
        stack.extend(whole for _ in opcode.stack_after)


def _pop(opcode: Any, stack: list[Any]) -> list[int]:
    before = [value.name for value in opcode.stack_before]
    popped = []
    if "mark" in before:
        while stack[-1] is not _MARK:
            popped.append(stack.pop())
        stack.pop()
        before = before[: before.index("mark")]
    for _ in before:
        popped.append(stack.pop())
    return popped
