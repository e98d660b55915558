"""A walk over a msgpack file that reads its headers and skips its payloads.

The format: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

import os
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

MAX_TEXT_BYTES = 4096
# Ten per tensor of a large checkpoint. Reading so many takes seconds. The smallest have
# one byte each.
MAX_TOKENS = 1_000_000


@dataclass(frozen=True)
class Token:
    """What stands at one place of the file.

    Attributes:
        kind: "map", "array", "text", "bytes", "extension" or "scalar".
        value: a map's or array's length, the text, the number of bytes (of an
            extension too), or the scalar.
        code: an extension's type.
    """

    kind: str
    value: Any
    code: int = 0


# First byte -> kind and struct format of the length that follows it.
_SIZED = {
    0xC4: ("bytes", ">B"),
    0xC5: ("bytes", ">H"),
    0xC6: ("bytes", ">I"),
    0xC7: ("extension", ">B"),
    0xC8: ("extension", ">H"),
    0xC9: ("extension", ">I"),
    0xD9: ("text", ">B"),
    0xDA: ("text", ">H"),
    0xDB: ("text", ">I"),
    0xDC: ("array", ">H"),
    0xDD: ("array", ">I"),
    0xDE: ("map", ">H"),
    0xDF: ("map", ">I"),
}
_NUMBERS = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}


class Cursor:
    """Reads token by token; payloads of bytes and extensions are left to the caller.

    Args:
        file: opened for reading bytes.

    Raises, from every method:
        ValueError: the file ends too early, is no msgpack, or has more parts than a
            checkpoint.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._tokens = 0
        self._size = os.fstat(file.fileno()).st_size

    @property
    def position(self) -> int:
        """Where the next byte stands in the file."""
        return self._file.tell()

    @property
    def is_at_end(self) -> bool:
        """Whether nothing is left."""
        return self.position >= self._size

    def skip(self, count: int) -> int:
        """Steps over `count` bytes and returns where they start."""
        start = self.position
        if count > self._size - start:
            raise ValueError(
                f"it ends {start + count - self._size} bytes too early, within the "
                f"{count} bytes from byte {start} on"
            )
        self._file.seek(count, os.SEEK_CUR)
        return start

    def next(self, *kinds: str) -> Token:
        """The next token, which must be of one of `kinds`."""
        start = self.position
        self._tokens += 1
        if self._tokens > MAX_TOKENS:
            raise ValueError(f"it is made of more than {MAX_TOKENS} parts")
        token = self._token(self._unpack(">B"))
        if token.kind not in kinds:
            raise ValueError(
                f"byte {start} starts a msgpack {token.kind}, not a "
                f"{' or '.join(kinds)}"
            )
        return token

    def _token(self, first: int) -> Token:
        if first <= 0x7F:
            return Token("scalar", first)
        if first >= 0xE0:
            return Token("scalar", first - 0x100)
        if first <= 0x8F:
            return Token("map", first & 0x0F)
        if first <= 0x9F:
            return Token("array", first & 0x0F)
        if first <= 0xBF:
            return Token("text", self._text(first & 0x1F))
        if first in _CONSTANTS:
            return Token("scalar", _CONSTANTS[first])
        if first in _NUMBERS:
            return Token("scalar", self._unpack(_NUMBERS[first]))
        if first in _FIXED_EXTENSIONS:
            return Token("extension", _FIXED_EXTENSIONS[first], self._unpack(">b"))
        if first not in _SIZED:
            raise ValueError(f"byte {self.position - 1} is no msgpack type")
        return self._sized(*_SIZED[first])

    def _sized(self, kind: str, length_format: str) -> Token:
        length = self._unpack(length_format)
        if kind == "text":
            return Token(kind, self._text(length))
        code = self._unpack(">b") if kind == "extension" else 0
        return Token(kind, length, code)

    def _text(self, length: int) -> str:
        if length > MAX_TEXT_BYTES:
            raise ValueError(f"a text of {length} bytes is no name of a tensor")
        return self._read(length).decode("utf-8")

    def _unpack(self, number_format: str) -> Any:
        return struct.unpack(number_format, self._read(struct.calcsize(number_format)))[
            0
        ]

    def _read(self, count: int) -> bytes:
        start = self.position
        content = self._file.read(count)
        if len(content) < count:
            raise ValueError(f"it ends within the {count} bytes from byte {start} on")
        return content


# === Headers to write ===


def bytes_header(length: int) -> bytes:
    """What stands before `length` bytes."""
    if length < 2**8:
        return struct.pack(">BB", 0xC4, length)
    if length < 2**16:
        return struct.pack(">BH", 0xC5, length)
    return struct.pack(">BI", 0xC6, length)


def extension_header(code: int, length: int) -> bytes:
    """What stands before `length` bytes of an extension."""
    for first, fixed in _FIXED_EXTENSIONS.items():
        if length == fixed:
            return struct.pack(">Bb", first, code)
    if length < 2**8:
        return struct.pack(">BBb", 0xC7, length, code)
    if length < 2**16:
        return struct.pack(">BHb", 0xC8, length, code)
    return struct.pack(">BIb", 0xC9, length, code)
