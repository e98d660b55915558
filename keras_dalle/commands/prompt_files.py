"""Prompts of a command line or a file, and the rules of their fields."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_dalle.commands.drawing import rows_of
from keras_dalle.commands.folders import FAILURES, Request
from keras_dalle.commands.given_pictures import GivenPicture, KnownTokens
from keras_dalle.commands.grids import prompt_bytes
from keras_dalle.commands.options import MAX_NUM_IMAGES
from keras_dalle.commands.prompt_formats import lines_of, name_of
from keras_dalle.generation.parameters import PARAMETERS, faults_of
from keras_dalle.utils.file_names import check_file_name
from keras_dalle.utils.foreign_values import shortened

MAX_SHOWN = 10
MAX_SIDE = 2**31 - 1
_TEXTS = ("prompt", "negative_prompt", "name")
_FILES = ("image", "mask")
_KNOWN = {parameter.name: parameter for parameter in PARAMETERS}
COLUMNS = (*_TEXTS, "num_images", *_FILES, "keep_rows", "keep_fraction", *_KNOWN)


@dataclass(frozen=True)
class Entry:
    """One record of a prompts file; fields that it leaves open are `None` or missing.

    Attributes:
        prompt: the text.
        line: the number of its first line, from 1.
        negative_prompt: what to steer away from.
        name: of the picture's file, without its ending.
        num_images: pictures.
        parameters: values by name.
        given: a picture to complete or to vary.
    """

    prompt: str
    line: int | None = None
    negative_prompt: str | None = None
    name: str | None = None
    num_images: int | None = None
    parameters: Mapping[str, int | float] = field(default_factory=dict)
    given: GivenPicture = GivenPicture()


@dataclass(frozen=True)
class PromptsFile:
    """The content of a prompts file.

    Attributes:
        entries: the prompts, each with its fields.
        num_comments: the number of lines that begin with #, which are skipped.
    """

    entries: Sequence[Entry]
    num_comments: int = 0


def read_prompts_file(path: Path) -> PromptsFile:
    """Reads a prompts file, as `prompt_formats` does, and checks all of it.

    Text is one prompt a line; blank lines and those that begin with # are skipped.
    Objects of JSON and rows of a table have `prompt` and, if wanted, other `COLUMNS`;
    paths of files are relative to the prompts file's folder.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no prompts or faulty lines; the message names them.
    """
    entries: list[Entry] = []
    faults: list[tuple[int, str]] = []
    num_comments = 0
    for line, fields in lines_of(path, COLUMNS):
        if fields is None:
            num_comments += 1
            continue
        try:
            entry = _entry(line, fields)
            entries.append(replace(entry, given=entry.given.within(path.parent)))
        except ValueError as error:
            faults.append((line, str(error)))
    for entry, fault in zip(entries, faults_of(map(_inputs, entries)), strict=True):
        if fault:
            faults.append((entry.line or 0, fault))
    if faults:
        shown = [f"line {line}: {fault}" for line, fault in sorted(faults)]
        more = len(shown) - MAX_SHOWN
        shown[MAX_SHOWN:] = [f"and {more} more"] if more > 0 else []
        heading = f"Nothing was drawn. {name_of(path)} has faults:"
        raise ValueError("\n  ".join([heading, *shown]))
    if not entries:
        raise ValueError(
            f"{name_of(path)} must hold at least one prompt. Received: none."
        )
    return PromptsFile(entries, num_comments)


def entries_of(prompts: Sequence[str]) -> list[Entry]:
    """Returns the prompts of a command line.

    Raises:
        ValueError: one cannot be drawn by any model.
    """
    entries = [Entry(prompt) for prompt in prompts]
    for entry in entries:
        rows_of(entry.prompt, "", {"seed": 0})
    check_inputs(map(_inputs, entries))
    return entries


def check_inputs(rows: Iterable[Mapping[str, Any]]) -> None:
    """Raises ValueError where `faults_of` finds a fault."""
    if fault := next(filter(None, faults_of(rows)), None):
        raise ValueError(fault)


def _inputs(entry: Entry) -> dict[str, Any]:
    return {"prompt": prompt_bytes(entry.prompt), **entry.parameters}


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
        num_images: number of pictures for an entry that does not give it.
        known_tokens: reads entries' given pictures. One that cannot be used is its own
            requests' fault.
    """
    requests = []
    for entry in entries:
        rows = rows_of(
            entry.prompt,
            negative_prompt if entry.negative_prompt is None else entry.negative_prompt,
            {**parameters, **entry.parameters},
            entry.num_images or num_images,
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


# === Fields ===


def _entry(line: int, fields: dict[str, Any] | ValueError) -> Entry:
    if isinstance(fields, ValueError):
        raise fields
    if unknown := sorted(set(fields) - set(COLUMNS)):
        raise ValueError(
            f"columns must be among {', '.join(COLUMNS)}. Received: "
            f"{', '.join(map(shortened, unknown[:MAX_SHOWN]))}"
        )
    filled = {name: value for name, value in fields.items() if value is not None}
    if "prompt" not in filled:
        raise ValueError("it must have a `prompt`.")
    texts = {name: _text(name, filled.pop(name)) for name in _TEXTS if name in filled}
    if "name" in texts:
        check_file_name(texts["name"])
    given = _given(filled)
    count = filled.pop("num_images", None)
    if count is not None:
        count = _integer("num_images", count, 1, MAX_NUM_IMAGES)
    numbers = {
        name: _number(name, value, _KNOWN[name].dtype) for name, value in filled.items()
    }
    entry = Entry(line=line, num_images=count, parameters=numbers, given=given, **texts)
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
    if isinstance(rows, str | None):
        keep_rows = None if rows is None else str(_whole(rows))
    else:
        keep_rows = str(_integer("keep_rows", rows, 1, MAX_SIDE))
    share = filled.pop("keep_fraction", None)
    if share is not None:
        share = _number("keep_fraction", share, tf.float32)
        if not 0 <= share <= 1:
            raise ValueError(
                f"`keep_fraction` must be from 0 to 1. Received: {shortened(share)}"
            )
    return GivenPicture(**files, keep_rows=keep_rows, keep_fraction=share)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"`{name}` must be a text. Received: {shortened(value)}")
    return value


def _number(name: str, value: Any, dtype: tf.DType) -> int | float:
    """A JSON number or a cell's text as a value of a parameter's type."""
    if dtype.is_integer:
        return _integer(name, value, dtype.min, dtype.max)
    try:
        number = float(value) if type(value) in (int, float, str) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(
            f"`{name}` must be a finite number. Received: {shortened(value)}"
        )
    return number


def _integer(name: str, value: Any, smallest: int, largest: int) -> int:
    number = _whole(value)
    if type(number) is not int or not smallest <= number <= largest:
        raise ValueError(
            f"`{name}` must be an integer from {smallest} to {largest}. Received: "
            f"{shortened(value)}"
        )
    return number


def _whole(value: Any) -> Any:
    """Returns 3 for 3, 3.0, "3" and "3.0", as spreadsheets write it, else the value."""
    if type(value) not in (int, float, str):
        return value
    try:
        return int(value) if type(value) in (int, str) else _exactly(value)
    except ValueError:
        pass
    try:
        return _exactly(float(value))
    except (ValueError, OverflowError):
        return value


def _exactly(number: float) -> int:
    # A larger float does not show which integer was meant.
    if abs(number) > 2**53 or not number.is_integer():
        raise ValueError
    return int(number)
