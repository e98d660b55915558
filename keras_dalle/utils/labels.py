"""Labels in every script and emoji that a font of the machine has.

A line is a row of runs: each has one font and one direction.
"""

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import regex
from PIL import Image, ImageDraw, ImageFont

from keras_dalle.utils.fonts import (
    EMOJI,
    TEXT,
    Face,
    debian_package,
    default_face,
    face_for,
    is_coloured,
    visible,
    without_joiners,
)
from keras_dalle.utils.text_direction import embedding_levels, in_visual_order

FONT_SIZE = 13
LINE_HEIGHT = 16
# A text may pile up any number of marks.
MAX_ASCENT, MAX_LINE_HEIGHT = 2 * LINE_HEIGHT, 3 * LINE_HEIGHT
MAX_CLUSTER_CHARACTERS = 32
MAX_TOLD = 10
# Slanted letters reach beyond their width.
_OVERHANG = 3
# Controls have no shape, and direction controls would change other labels' order.
_CONTROLS = regex.compile(r"[\p{Cc}\p{Bidi_Control}--\s]", regex.VERSION1)
_MIRRORED = str.maketrans("()[]{}<>«»", ")(][}{><»«")
_SURROGATES = regex.compile(r"\p{Cs}")


@dataclass(frozen=True)
class Run:
    """Characters of a line that have one font and one direction."""

    text: str
    face: Face
    is_right_to_left: bool

    @property
    def is_shaped(self) -> bool:
        """Tells if Raqm joins letters and emoji, and knows both directions."""
        return self.face.font.layout_engine == ImageFont.Layout.RAQM

    @property
    def shown(self) -> str:
        """Returns the text that Pillow draws."""
        if self.is_shaped:
            return self.text
        text = without_joiners(self.text)
        if self.is_right_to_left:
            return "".join(reversed(clusters_of(text))).translate(_MIRRORED)
        return text

    @property
    def direction(self) -> str | None:
        """Returns the direction, by Pillow's name."""
        if not self.is_shaped:
            return None
        return "rtl" if self.is_right_to_left else "ltr"

    @property
    def width(self) -> float:
        """In pixels."""
        font = self.face.font
        return font.getlength(self.shown, direction=self.direction) * self.face.scale

    @property
    def extent(self) -> tuple[float, float]:
        """Pixels above the base line and below it."""
        _, top, _, bottom = self.face.font.getbbox(
            self.shown, direction=self.direction, anchor="ls"
        )
        return -top * self.face.scale, bottom * self.face.scale


@dataclass(frozen=True)
class Line:
    """A line of a label, its runs from left to right."""

    runs: Sequence[Run]

    @property
    def width(self) -> float:
        """In pixels."""
        return sum(run.width for run in self.runs)

    @property
    def ascent(self) -> int:
        """Pixels from its top to the base line."""
        least = default_face(FONT_SIZE).font.getmetrics()[0]
        upper = max([least, *(round(run.extent[0]) for run in self.runs)])
        return min(upper, MAX_ASCENT)

    @property
    def height(self) -> int:
        """In pixels, `LINE_HEIGHT` if there is room enough."""
        ascent = self.ascent
        lower = max([0, *(round(run.extent[1]) for run in self.runs)])
        least = LINE_HEIGHT - default_face(FONT_SIZE).font.getmetrics()[0]
        return min(ascent + max(lower, least), MAX_LINE_HEIGHT)

    def draw(self, image: Image.Image, centre: int, top: int) -> None:
        """Draws itself in black on an RGB image, around a column."""
        strip = Image.new("RGB", (image.width, self.height), "white")
        start = centre - math.ceil(self.width / 2)
        right = min(math.ceil(start + self.width) + _OVERHANG, image.width)
        box = (max(start - _OVERHANG, 0), 0, right, self.height)
        left = float(start)
        for run in self.runs:
            place = (left, self.ascent)
            if run.face.scale == 1.0:
                _draw_run(strip, run, place)
            else:
                _draw_bitmaps(strip, run, place)
            left += run.width
        image.paste(strip.crop(box), (box[0], top))


def _draw_run(image, run, place):
    draw = ImageDraw.Draw(image)
    draw.text(
        place,
        run.shown,
        "black",
        run.face.font,
        "ls",
        direction=run.direction,
        embedded_color=True,
    )


def _draw_bitmaps(image, run, place):
    """Draws a run at the only size that its font has, and makes it smaller."""
    left, top, right, bottom = map(
        int, run.face.font.getbbox(run.shown, direction=run.direction, anchor="ls")
    )
    size = right - left, bottom - top
    if not all(size):
        return
    large = Image.new("RGBA", size, (255, 255, 255, 0))
    _draw_run(large, run, (-left, -top))
    scale = run.face.scale
    small = large.resize(
        [max(round(side * scale), 1) for side in size], Image.Resampling.LANCZOS
    )
    corner = round(place[0] + left * scale), round(place[1] + top * scale)
    image.paste(small, corner, small)


def wrapped(label: str, width: int) -> list[Line]:
    """Breaks a label into lines no wider than `width`, within a word if it must."""
    texts: list[str] = []
    for word in readable(label).split():
        if texts and line_of(f"{texts[-1]} {word}").width <= width:
            texts[-1] += f" {word}"
            continue
        texts.append("")
        for cluster in clusters_of(word):
            if texts[-1] and line_of(texts[-1] + cluster).width > width:
                texts.append("")
            texts[-1] += cluster
    return [line_of(text) for text in texts]


def readable(label: str) -> str:
    """Returns a label without controls, with a sign in place of invalid characters."""
    text = _SURROGATES.sub("\ufffd", _CONTROLS.sub("", label))
    return "".join(cluster[:MAX_CLUSTER_CHARACTERS] for cluster in clusters_of(text))


def clusters_of(text: str) -> list[str]:
    """Splits a text into characters as readers see them: emoji with skin tones."""
    return regex.findall(r"\X", text)


def boxes_message(labels: Iterable[str]) -> str | None:
    """Returns a message about characters that no font has, if there are any."""
    boxes = [
        character
        for label in labels
        for cluster in clusters_of(readable(label))
        for character in visible(cluster)
        if _face_of(character, EMOJI if is_coloured(cluster) else TEXT) is None
    ]
    if not boxes:
        return None
    boxes = list(dict.fromkeys(boxes))
    shown = ", ".join(f"{x} (U+{ord(x):04X})" for x in boxes[:MAX_TOLD])
    more = f" and {len(boxes) - MAX_TOLD} more" if len(boxes) > MAX_TOLD else ""
    packages = sorted({name for x in boxes if (name := debian_package(x))})
    remedy = "Such characters have no font that is known here."
    if packages:
        remedy = f"Install one: sudo apt-get install {' '.join(packages)}"
    return (
        "Labels show a box for each character that no font of this machine has: "
        f"{shown}{more}. {remedy}"
    )


@functools.lru_cache(maxsize=4096)
def line_of(text: str) -> Line:
    """Returns a line with this text."""
    clusters = clusters_of(text)
    levels = embedding_levels(clusters)
    pieces = zip(levels, _faces(clusters), clusters, strict=True)
    runs = []
    for (level, face), group in itertools.groupby(pieces, lambda piece: piece[:2]):
        run = Run("".join(cluster for *_, cluster in group), face, level % 2 == 1)
        runs.append((level, run))
    return Line(in_visual_order(runs))


def _faces(clusters: Sequence[str]) -> Iterator[Face]:
    """Returns the font of each cluster; it is one font per word if possible."""
    face = default = default_face(FONT_SIZE)
    for kind, group in itertools.groupby(clusters, _kind):
        word = list(group)
        if kind is None:  # A space takes the font before it.
            face = face if face.scale == 1.0 else default
            yield from [face] * len(word)
            continue
        shared = _face_of("".join(word), kind) if kind == TEXT else None
        for cluster in word:
            face = shared or _face_of(cluster, kind) or default
            yield face


def _kind(cluster: str) -> str | None:
    if cluster.isspace():
        return None
    return EMOJI if is_coloured(cluster) else TEXT


@functools.lru_cache(maxsize=4096)
def _face_of(text: str, kind: str) -> Face | None:
    return face_for(text, kind, FONT_SIZE)
