"""Prompts of a command line or a file: text, JSON lines or CSV."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_dalle.commands.drawing import rows_of
from keras_dalle.commands.folders import FAILURES, Request
from keras_dalle.commands.given_pictures import GivenPicture, KnownTokens
from keras_dalle.generation.parameters import PARAMETERS
from keras_dalle.utils.file_names import check_file_name
from keras_dalle.utils.files import read_limited_text

MAX_SHOWN = 10
_TEXTS = ("prompt", "negative_prompt", "name")
_FILES = ("image", "mask")


@dataclass(frozen=True)
class Entry:
    """One line of a prompts file; what it leaves open is `None` or missing.

    Attributes:
        prompt: the text.
        line: its number, from 1.
        negative_prompt: what to steer away from.
        name: of the picture's file, without its ending.
        parameters: values by name.
        given: a picture to complete or to vary.
    """

    prompt: str
    line: int | None = None
    negative_prompt: str | None = None
    name: str | None = None
    parameters: Mapping[str, int | float] = field(default_factory=dict)
    given: GivenPicture = GivenPicture()


def read_prompts_file(path: Path) -> list[Entry]:
    """Reads .csv, .jsonl and, as plain text, every other ending.

    Text is one prompt a line; blank lines and those that begin with # are skipped.
    JSON lines and the rows of a CSV have `prompt` and, if wanted, `negative_prompt`,
    `name`, any parameter of generation, and `image` with `mask`, `keep_rows` or
    `keep_fraction`; files' names are seen from the prompts file's folder.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no prompts or faulty lines; the message names them.
    """
    readers = {".csv": _csv_lines, ".jsonl": _json_lines, ".ndjson": _json_lines}
    read = readers.get(path.suffix.lower(), _text_lines)
    try:
        text = read_limited_text(path).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be UTF-8. Received: {error}") from error
    entries, faults = [], []
    for line, fields in read(text):
        try:
            entry = _entry(line, fields)
            entries.append(replace(entry, given=entry.given.within(path.parent)))
        except ValueError as error:
            faults.append(f"line {line}: {error}")
    if faults:
        more = len(faults) - MAX_SHOWN
        faults[MAX_SHOWN:] = [f"and {more} more"] if more > 0 else []
        heading = f"Nothing was drawn. {path} has faults:"
        raise ValueError("\n  ".join([heading, *faults]))
    if not entries:
        raise ValueError(f"{path} must hold at least one prompt. Received: none.")
    return entries


def entries_of(prompts: Sequence[str]) -> list[Entry]:
    """The prompts of a command line."""
    return [Entry(prompt) for prompt in prompts]


def requests_of(
    entries: Sequence[Entry],
    negative_prompt: str,
    parameters: Mapping[str, int | float],
    num_images: int = 1,
    known_tokens: KnownTokens | None = None,
) -> list[Request]:
    """The pictures that the entries of a file ask for.

    Args:
        entries: as read.
        negative_prompt: where an entry has none.
        parameters: every parameter's value where an entry has none.
        num_images: pictures an entry.
        known_tokens: reads entries' given pictures. One that cannot be used is its own
            requests' fault.
    """
    requests = []
    for entry in entries:
        rows = rows_of(
            entry.prompt,
            negative_prompt if entry.negative_prompt is None else entry.negative_prompt,
            {**parameters, **entry.parameters},
            num_images,
        )
        for row in rows:
            request = Request(row, entry.name, entry.line)
            requests.append(_with_known_tokens(request, entry.given, known_tokens))
    return requests


def _with_known_tokens(
    request: Request, given: GivenPicture, known_tokens: KnownTokens | None
) -> Request:
    if known_tokens is None:
        return request
    row = request.row
    try:
        tokens = known_tokens(given, int(row.parameters["seed"]))
    except (OSError, *FAILURES) as error:
        return replace(request, fault=error)
    return replace(request, row=replace(row, known_tokens=tokens))


# === Formats: each yields line numbers with fields, or with what is wrong ===

Lines = Iterator[tuple[int, dict[str, Any] | ValueError]]


def _text_lines(text: str) -> Lines:
    for number, line in enumerate(text.split("\n"), start=1):
        prompt = line.strip()
        if prompt and not prompt.startswith("#"):
            yield number, {"prompt": prompt}


def _json_lines(text: str) -> Lines:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            fields = ValueError(f"it must be JSON. {error}")
        if not isinstance(fields, dict | ValueError):
            fields = ValueError(f"it must be a JSON object. Received: {line[:80]}")
        yield number, fields


def _csv_lines(text: str) -> Lines:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for fields in reader:
            line = reader.line_num
            if None in fields or None in fields.values():
                header = len(reader.fieldnames or ())
                yield line, ValueError(f"it must have {header} cells, as the first.")
            else:
                yield line, {name: cell for name, cell in fields.items() if cell}
    except csv.Error as error:
        yield reader.line_num, ValueError(f"it must be CSV. {error}")


# === Fields ===


def _entry(line: int, fields: dict[str, Any] | ValueError) -> Entry:
    if isinstance(fields, ValueError):
        raise fields
    known = {parameter.name: parameter for parameter in PARAMETERS}
    names = (*_TEXTS, *_FILES, "keep_rows", "keep_fraction", *known)
    if unknown := sorted(set(fields) - set(names)):
        raise ValueError(
            f"columns must be among {', '.join(names)}. Received: {', '.join(unknown)}"
        )
    filled = {name: value for name, value in fields.items() if value is not None}
    if "prompt" not in filled:
        raise ValueError("it must have a `prompt`.")
    texts = {name: _text(name, filled.pop(name)) for name in _TEXTS if name in filled}
    if "name" in texts:
        check_file_name(texts["name"])
    given = _given(filled)
    numbers = {
        name: _number(name, value, known[name].dtype) for name, value in filled.items()
    }
    entry = Entry(line=line, parameters=numbers, given=given, **texts)
    # The rows' own rules, such as the length of a prompt.
    rows_of(entry.prompt, entry.negative_prompt or "", {"seed": 0, **numbers})
    return entry


def _given(filled: dict[str, Any]) -> GivenPicture:
    """Takes a picture to complete or to vary out of the fields."""
    files = {
        name: Path(_text(name, filled.pop(name))) for name in _FILES if name in filled
    }
    rows = filled.pop("keep_rows", None)
    # JSON has numbers.
    keep_rows = str(rows) if type(rows) is int else rows
    if keep_rows is not None:
        _text("keep_rows", keep_rows)
    share = filled.pop("keep_fraction", None)
    if share is not None:
        share = _number("keep_fraction", share, tf.float32)
    return GivenPicture(**files, keep_rows=keep_rows, keep_fraction=share)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"`{name}` must be a text. Received: {value!r:.80}")
    return value


def _number(name: str, value: Any, dtype: tf.DType) -> int | float:
    """A JSON number or a cell's text as a value of a parameter's type."""
    rule = "a finite number"
    if dtype.is_integer:
        rule = f"an integer from {dtype.min} to {dtype.max}"
    is_number = type(value) in ((int, str) if dtype.is_integer else (int, float, str))
    try:
        number = (int if dtype.is_integer else float)(value) if is_number else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    is_right = math.isfinite(number)
    if dtype.is_integer:
        is_right = is_right and dtype.min <= number <= dtype.max
    if not is_right:
        raise ValueError(f"`{name}` must be {rule}. Received: {value!r:.80}")
    return number
