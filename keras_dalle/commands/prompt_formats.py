"""Formats of prompts files: text, tables and JSON to lines with fields."""

import codecs
import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from keras_dalle.utils.files import MAX_TEXT_BYTES
from keras_dalle.utils.foreign_values import shortened

STANDARD_INPUT = Path("-")
# The longest mark first: UTF-32's begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATORS = (",", ";", "\t")
_NEWLINE = re.compile(r"\r\n|\r|\n")

# A record's first line, from 1, with its fields or its fault; `None` stands for a
# comment.
Lines = Iterator[tuple[int, dict[str, Any] | ValueError | None]]


def lines_of(path: Path, columns: tuple[str, ...]) -> Lines:
    """Reads a prompts file. Its ending says the format.

    Args:
        path: the file, or `STANDARD_INPUT`, whose beginning shows the format.
        columns: the fields that are known, `prompt` among them.

    Raises:
        OSError: it cannot be read.
        ValueError: the ending is none of `READERS`, or it is no text.
    """
    suffix = path.suffix.lower()
    if path != STANDARD_INPUT and suffix not in READERS:
        raise ValueError(
            f"A prompts file must end in {', '.join(filter(None, READERS))}, or in "
            f"nothing. Received: {path}"
        )
    text = _text(path)
    if path == STANDARD_INPUT:
        suffix = _format_of(text, columns)
    return READERS[suffix](text, columns)


def name_of(path: Path) -> str:
    """Returns the name of a prompts file for messages."""
    return "Standard input" if path == STANDARD_INPUT else str(path)


def _text(path: Path) -> str:
    if path == STANDARD_INPUT:
        content = sys.stdin.buffer.read(MAX_TEXT_BYTES + 1)
    else:
        with path.open("rb") as file:
            content = file.read(MAX_TEXT_BYTES + 1)
    name = name_of(path)
    if len(content) > MAX_TEXT_BYTES:
        raise ValueError(f"{name} must have at most {MAX_TEXT_BYTES} bytes.")
    encodings = (encoding for mark, encoding in _MARKS if content.startswith(mark))
    try:
        text = content.decode(next(encodings, "utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name} must be UTF-8, or UTF-16 with its mark. Received: {error.reason} "
            f"at byte {error.start}. Save it as UTF-8."
        ) from error
    if "\0" in text:
        raise ValueError(
            f"{name} must be text. Received: a NUL character, as binary files and "
            "UTF-16 without its mark have. Save it as UTF-8."
        )
    return text


def _format_of(text: str, columns: tuple[str, ...]) -> str:
    """Tells the format: JSON begins with a bracket, a table with names of columns."""
    begin = text.lstrip()
    if begin.startswith(("[", "{")):
        return ".jsonl"
    header = _NEWLINE.split(begin, maxsplit=1)[0]
    names = _header_of(header, _separator_of(header, columns))
    is_table = "prompt" in names and set(names) <= {*columns, ""}
    return ".csv" if is_table else ".txt"


# === Text ===


def _text_lines(text: str, columns: tuple[str, ...]) -> Lines:
    for number, line in enumerate(_NEWLINE.split(text), start=1):
        prompt = line.strip()
        if prompt.startswith("#"):
            yield number, None
        elif prompt:
            yield number, {"prompt": prompt}


# === JSON ===


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes a dictionary; of two values with one name Python would drop the first."""
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"Its names must differ. Received twice: {shortened(twice)}")
    return dict(pairs)


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def _json_lines(text: str, columns: tuple[str, ...]) -> Lines:
    if text.lstrip().startswith("["):
        yield from _json_values(text, columns)
        return
    for number, line in enumerate(_NEWLINE.split(text), start=1):
        if line.strip():
            try:
                value = _DECODER.decode(line)
            except (ValueError, RecursionError) as error:
                yield number, ValueError(f"it must be JSON. {error}")
            else:
                yield number, _fields(value)


def _json_values(text: str, columns: tuple[str, ...]) -> Lines:
    try:
        whole = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        yield error.lineno, ValueError(f"it must be JSON. {error.msg}")
    except (ValueError, RecursionError) as error:
        yield 1, ValueError(f"it must be JSON. {error}")
    else:
        items = _items(text) if isinstance(whole, list) else [(1, whole)]
        for line, value in items:
            yield line, _fields(value)


def _items(array: str) -> Iterator[tuple[int, Any]]:
    """Yields the line and the value of each item of a valid array."""
    between = re.compile(r"[\s,\]]*")
    position = array.index("[") + 1
    line = 1 + array.count("\n", 0, position)
    while True:
        start = between.match(array, position).end()  # type: ignore[union-attr]
        line += array.count("\n", position, start)
        if start == len(array):
            return
        value, position = _DECODER.raw_decode(array, start)
        yield line, value
        line += array.count("\n", start, position)


def _fields(value: Any) -> dict[str, Any] | ValueError:
    if isinstance(value, str):
        return {"prompt": value}
    if not isinstance(value, dict):
        return ValueError(f"it must be a JSON object. Received: {shortened(value)}")
    return _named(list(value), list(value.values()))


# === Tables ===


def _csv_lines(text: str, columns: tuple[str, ...]) -> Lines:
    return _table_lines(text, columns, None)


def _tsv_lines(text: str, columns: tuple[str, ...]) -> Lines:
    return _table_lines(text, columns, "\t")


def _table_lines(text: str, columns: tuple[str, ...], separator: str | None) -> Lines:
    lines = _NEWLINE.split(text)
    header = next((x for x in lines if x.strip() and not _is_preface(x)), "")
    separator = separator or _separator_of(header, columns)
    rows = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=separator,
        skipinitialspace=True,
        strict=True,
    )
    names: list[str] = []
    line = 1
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not names and _is_preface("".join(cells)):
                if cells[0].startswith("#"):
                    yield line, None
            elif any(cells) and not names:
                names = cells
            elif any(cells):
                yield line, _cells_by_name(names, cells)
            # A quoted cell may have several lines.
            line = rows.line_num + 1
    except csv.Error as error:
        yield line, ValueError(f"it must be CSV. {error}")


def _is_preface(line: str) -> bool:
    """Tells a comment, or Excel's `sep=;`, that stands above a table's first row."""
    return line.lstrip().lower().startswith(("#", "sep="))


def _cells_by_name(names: list[str], cells: list[str]) -> dict[str, Any] | ValueError:
    while len(cells) > len(names) and not cells[-1]:
        cells = cells[:-1]
    if len(cells) != len(names):
        return ValueError(
            f"it must have {len(names)} cells, as the first row. Received: {len(cells)}"
        )
    pairs = [(name, cell) for name, cell in zip(names, cells, strict=True) if cell]
    return _named([name for name, _ in pairs], [cell for _, cell in pairs])


def _named(names: list[str], values: list[Any]) -> dict[str, Any] | ValueError:
    """Returns fields by the names of columns; case and spaces of names do not count."""
    keys = [column_of(name) for name in names]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        return ValueError(f"columns must differ. Received twice: {', '.join(twice)}")
    return dict(zip(keys, values, strict=True))


def column_of(name: str) -> str:
    """Returns a column's usual name: `negative_prompt` for " Negative prompt"."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _header_of(header: str, separator: str) -> list[str]:
    return [column_of(name.strip().strip('"')) for name in header.split(separator)]


def _separator_of(header: str, columns: tuple[str, ...]) -> str:
    """Finds the separator that gives a table's first row the most known names."""

    def known(separator: str) -> int:
        return len(set(_header_of(header, separator)) & set(columns))

    return max(_SEPARATORS, key=known)


READERS: dict[str, Callable[[str, tuple[str, ...]], Lines]] = {
    ".txt": _text_lines,
    ".csv": _csv_lines,
    ".tsv": _tsv_lines,
    ".json": _json_values,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    # For example a shell's <(command).
    "": _text_lines,
}
