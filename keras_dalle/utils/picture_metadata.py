"""What pictures were drawn from: enough to draw them again.

Metadata is read from files that come from outside. So the classes check what they are
made of, the same when a file is written and when it is read.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keras_dalle.utils.foreign_values import one_line, shortened

# 2 added a picture's known tokens.
FORMAT = 2
READABLE_FORMATS = (1, 2)
KEY = "keras_dalle"
MAX_CHARACTERS = 2**24
MAX_PICTURES = 1024
MAX_PARAMETERS = 64
MAX_PROMPT_CHARACTERS = 100_000
MAX_TOKENS = 2**14
MAX_NAME_CHARACTERS = 500
_INT64_LIMIT = 2**63
_INT32_LIMIT = 2**31
_PICTURE_FIELDS = ("prompt", "negative_prompt", "parameters", "pixels_sha256")


class MetadataError(ValueError):
    """Metadata of a picture that is none, or breaks a rule."""


@dataclass(frozen=True)
class PictureRow:
    """One picture's inputs.

    Attributes:
        prompt: the text that was drawn. Bytes that were not UTF-8 are lone surrogates,
            as `os.fsdecode` makes them.
        negative_prompt: the text that was steered away from.
        parameters: every parameter's value by its name, the seed among them.
        pixels_sha256: `fingerprint_of_pixels` of the picture, once it is drawn. Two
            rows are equal that ask for the same.
        known_tokens: the image tokens that were given and not drawn, in the order of
            the picture, -1 where it was drawn; `None` where all was drawn.
    """

    prompt: str
    negative_prompt: str
    parameters: Mapping[str, int | float]
    pixels_sha256: str | None = field(default=None, compare=False)
    known_tokens: Sequence[int] | None = None

    def __post_init__(self):
        _check_prompt("prompt", self.prompt)
        _check_prompt("negative_prompt", self.negative_prompt)
        _require(
            isinstance(self.parameters, Mapping)
            and len(self.parameters) <= MAX_PARAMETERS,
            f"`parameters` must be at most {MAX_PARAMETERS} values by name",
            self.parameters,
        )
        for name, value in self.parameters.items():
            _require(
                isinstance(name, str)
                and re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) is not None,
                "a parameter's name must be of lower-case letters, digits and _",
                name,
            )
            _require(_is_number(value), f"`{name}` must be a finite number", value)
        _check_sha256("pixels_sha256", self.pixels_sha256)
        if self.known_tokens is not None:
            _check_tokens(self.known_tokens)
            object.__setattr__(self, "known_tokens", tuple(self.known_tokens))


@dataclass(frozen=True)
class PresetIdentity:
    """Which model drew.

    Attributes:
        name: a preset's name or handle, a preset's folder without the path to it, or
            the name of a model on a server.
        sha256: `fingerprint_of_preset`, or `None` where the files are not at hand.
    """

    name: str
    sha256: str | None

    def __post_init__(self):
        _require(
            isinstance(self.name, str) and 0 < len(self.name) <= MAX_NAME_CHARACTERS,
            f"a preset's `name` must be text, 1 to {MAX_NAME_CHARACTERS} characters",
            self.name,
        )
        _check_encodable("a preset's `name`", self.name)
        _check_sha256("sha256", self.sha256)

    def is_same_model(self, other: "PresetIdentity") -> bool:
        """Whether both have the same files or, where that is not known, one name."""
        if self.sha256 and other.sha256:
            return self.sha256 == other.sha256
        return self == other

    def __str__(self) -> str:
        return f"{self.name} ({self.sha256 or 'of unknown files'})"


@dataclass(frozen=True)
class GridLayout:
    """How pictures lie in a grid.

    Attributes:
        columns: pictures a row.
        labels: whether each has its prompt under it.
    """

    columns: int
    labels: bool

    def __post_init__(self):
        _require(
            type(self.columns) is int and 1 <= self.columns <= MAX_PICTURES,
            f"`columns` must be an integer from 1 to {MAX_PICTURES}",
            self.columns,
        )
        _require(
            isinstance(self.labels, bool), "`labels` must be true or false", self.labels
        )


@dataclass(frozen=True)
class PictureMetadata:
    """All that a picture file says of itself.

    Attributes:
        pictures: the inputs of each, in the order of the grid.
        preset: the model.
        grid: `None` where the file is the one picture by itself.
        version: of the keras_dalle that drew.
    """

    pictures: Sequence[PictureRow]
    preset: PresetIdentity
    grid: GridLayout | None
    version: str

    def __post_init__(self):
        object.__setattr__(self, "pictures", tuple(self.pictures))
        most = MAX_PICTURES if self.grid else 1
        _require(
            1 <= len(self.pictures) <= most,
            f"the number of pictures in one file must be from 1 to {most}",
            len(self.pictures),
        )
        _require(
            isinstance(self.version, str)
            and re.fullmatch(r"[\w.+!-]{1,50}", self.version, re.ASCII) is not None,
            "the version must be that of a Python package",
            self.version,
        )

    def asks_the_same(self, other: "PictureMetadata") -> bool:
        """Whether both have the same inputs, model and layout, drawn or not."""
        return (
            self.pictures == other.pictures
            and self.preset.is_same_model(other.preset)
            and self.grid == other.grid
        )

    def to_json(self, ascii_only: bool = False) -> str:
        """The metadata as a JSON text that can be encoded as UTF-8.

        Args:
            ascii_only: whether all other characters are escaped.
        """
        content = {
            KEY: self.version,
            "format": FORMAT,
            "preset": {"name": self.preset.name, "sha256": self.preset.sha256},
            "grid": self.grid
            and {"columns": self.grid.columns, "labels": self.grid.labels},
            "pictures": [
                {
                    "prompt": row.prompt,
                    "negative_prompt": row.negative_prompt,
                    "parameters": dict(row.parameters),
                    "pixels_sha256": row.pixels_sha256,
                    "known_tokens": row.known_tokens,
                }
                for row in self.pictures
            ],
        }
        text = json.dumps(content, ensure_ascii=ascii_only)
        # UTF-8 has no lone surrogates; JSON's escapes do.
        text = re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)
        _check_length(text)
        return text

    @classmethod
    def from_json(cls, text: str) -> "PictureMetadata":
        """Reads what `to_json` wrote.

        Raises:
            MetadataError: it is not that, or of another format; names what is wrong.
        """
        _check_length(text)
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise MetadataError(
                f"The metadata is no valid JSON: {one_line(str(error))}"
            ) from error
        if not isinstance(content, dict) or KEY not in content:
            raise MetadataError(f"The metadata lacks the field `{KEY}`.")
        version = content[KEY]
        number = content.get("format")
        if type(number) is not int or number not in READABLE_FORMATS:
            known = " or ".join(map(str, READABLE_FORMATS))
            raise MetadataError(
                f"The metadata's `format` must be {known}. Received: "
                f"{shortened(number)}, written by keras_dalle "
                f"{shortened(version)}. Use that version."
            )
        fields = _fields(
            "the metadata", content, (KEY, "format", "preset", "grid", "pictures")
        )
        preset = _fields("`preset`", fields["preset"], ("name", "sha256"))
        grid = fields["grid"]
        if grid is not None:
            grid = GridLayout(**_fields("`grid`", grid, ("columns", "labels")))
        rows = fields["pictures"]
        _require(isinstance(rows, list), "`pictures` must be a list", rows)
        names = _PICTURE_FIELDS + (("known_tokens",) if number > 1 else ())
        return cls(
            [PictureRow(**_fields("a picture", row, names)) for row in rows],
            PresetIdentity(**preset),
            grid,
            version,
        )


def _fields(what: str, value: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """A JSON object that has these fields and no others."""
    _require(isinstance(value, dict), f"{what} must be a JSON object", value)
    found = ", ".join(sorted(value))
    _require(
        set(value) == set(names),
        f"{what} must have the fields {', '.join(names)}",
        found,
    )
    return value


def _check_prompt(name: str, text: Any) -> None:
    _require(
        isinstance(text, str) and len(text) <= MAX_PROMPT_CHARACTERS,
        f"`{name}` must be a text of at most {MAX_PROMPT_CHARACTERS:,} characters",
        text,
    )
    _check_encodable(f"`{name}`", text)


def _check_encodable(what: str, text: str) -> None:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        _require(False, f"{what} must be Unicode, or undecoded bytes", text)


def _check_tokens(tokens: Any) -> None:
    _require(
        isinstance(tokens, list | tuple) and 1 <= len(tokens) <= MAX_TOKENS,
        f"`known_tokens` must be a list of 1 to {MAX_TOKENS:,} tokens, or null",
        tokens,
    )
    for token in tokens:
        _require(
            type(token) is int and -1 <= token < _INT32_LIMIT,
            "each of `known_tokens` must be an int32 of at least -1",
            token,
        )


def _check_sha256(name: str, value: Any) -> None:
    _require(
        value is None
        or (isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None),
        f"`{name}` must be 64 hexadecimal digits, or null",
        value,
    )


def _check_length(text: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise MetadataError(
            f"A picture's metadata must have at most {MAX_CHARACTERS:,} characters. "
            f"Received: {len(text):,}."
        )


def _is_number(value: Any) -> bool:
    if type(value) is int:
        return -_INT64_LIMIT <= value < _INT64_LIMIT
    return type(value) is float and math.isfinite(value)


def _require(holds: bool, rule: str, value: Any) -> None:
    if not holds:
        raise MetadataError(
            f"In the picture's metadata {rule}. Received: {shortened(value)}"
        )
