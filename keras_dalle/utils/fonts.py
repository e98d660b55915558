"""The fonts of this machine, and the choice among them for a text."""

import functools
import os
import shutil
import subprocess
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import cast

import regex
from PIL import Image, ImageDraw, ImageFont

# Bitmap fonts draw only at one size: Noto's colour emoji, then Apple's.
BITMAP_SIZES = (109, 160)
# Fontconfig's names of the kinds. For each kind it sorts all fonts of the machine.
TEXT, EMOJI = "sans", "emoji"

_FONT_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/usr/share/X11/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "~/Library/Fonts",
    "/opt/homebrew/share/fonts",
    "C:/Windows/Fonts",
    "~/AppData/Local/Microsoft/Windows/Fonts",
)
_FONT_ENDINGS = {".ttf", ".ttc", ".otf", ".otc"}
_STYLES = ("bold", "italic", "oblique", "mono", "condensed", "serif", "light", "math")
# macOS's font of boxes, which has one for each character.
_BOXES_ALONE = "lastresort"
# No font has this character, so it shows a font's box.
_NO_CHARACTER = "\U0010ffff"
_JOINERS = regex.compile(r"\p{Default_Ignorable_Code_Point}")
_EAST_ASIAN = regex.compile(r"[\p{Han}\p{Hangul}\p{Hiragana}\p{Katakana}\p{Bopomofo}]")
_COLOURED = regex.compile(r"\p{Emoji_Presentation}|\p{Emoji_Modifier}|\uFE0F")


@dataclass(frozen=True)
class Face:
    """A font, ready to draw.

    Attributes:
        font: Pillow's font, for whole texts.
        plain: the same font without shaping, to test if it has a character.
        scale: factor from its own size to the wanted size.
    """

    font: ImageFont.FreeTypeFont
    plain: ImageFont.FreeTypeFont
    scale: float = 1.0

    def has(self, text: str) -> bool:
        """Tells if it draws every visible character."""
        return all(_has(self, character) for character in visible(text))


def without_joiners(text: str) -> str:
    """Returns a text without joiners, variation selectors and the like."""
    return _JOINERS.sub("", text)


def visible(text: str) -> str:
    """Returns a text without joiners and spaces."""
    return "".join(without_joiners(text).split())


def is_coloured(cluster: str) -> bool:
    """Tells if one character, as readers see it, is an emoji in colours."""
    return "\ufe0e" not in cluster and bool(_COLOURED.search(cluster))


@functools.cache
def default_face(size: int) -> Face:
    """Returns the font that comes with Pillow: ASCII and little else."""
    # With a size, Pillow gives an outline font, not a bitmap.
    font = cast(ImageFont.FreeTypeFont, ImageFont.load_default(size=size))
    plain = font.font_variant(layout_engine=ImageFont.Layout.BASIC)
    return Face(font, plain)


def face_for(text: str, kind: str, size: int) -> Face | None:
    """Returns the first font that has all of a text, or `None`.

    The default font is tried first for letters, and last for emoji.

    Args:
        text: a few characters for one font.
        kind: `TEXT` or `EMOJI`; such fonts of the machine are tried first.
        size: the size of letters, in pixels.
    """
    of_machine = (_face(path, index, size) for path, index in _machine_fonts(kind))
    default = [default_face(size)]
    faces = chain(of_machine, default) if kind == EMOJI else chain(default, of_machine)
    return next((face for face in faces if face and face.has(text)), None)


def debian_package(character: str) -> str | None:
    """Returns the package of Debian and Ubuntu whose fonts draw a character."""
    if unicodedata.category(character) in ("Cn", "Co", "Cs"):
        return None
    if regex.match(r"\p{Emoji}", character):
        return "fonts-noto-color-emoji"
    return "fonts-noto-cjk" if _EAST_ASIAN.match(character) else "fonts-noto-core"


@functools.cache
def _machine_fonts(kind: str) -> Sequence[tuple[str, int]]:
    """Returns font files, each with an index in it, in the system's order."""
    return tuple(_by_fontconfig(kind) or _in_known_folders(kind))


def _by_fontconfig(kind: str) -> list[tuple[str, int]]:
    """Returns fontconfig's choice, without fonts that add no character."""
    if shutil.which("fc-match") is None:
        return []
    command = ["fc-match", "--sort", "--format", "%{index}\t%{file}\n", kind]
    try:
        found = subprocess.run(command, capture_output=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    pairs = [line.split("\t", 1) for line in os.fsdecode(found.stdout).splitlines()]
    # The upper bits name a variation of the font, which Pillow cannot use.
    return [(path, int(index) & 0xFFFF) for index, path in pairs]


def _in_known_folders(kind: str) -> list[tuple[str, int]]:
    files = {
        path
        for folder in _FONT_FOLDERS
        for path in Path(folder).expanduser().rglob("*")
        if path.suffix.lower() in _FONT_ENDINGS
    }

    def preference(path: Path) -> tuple[bool, bool, str]:
        name = path.name.lower()
        is_other_kind = ("emoji" in name) != (kind == EMOJI)
        return is_other_kind, any(style in name for style in _STYLES), name

    known = sorted(files, key=preference)
    return [(str(path), 0) for path in known if _BOXES_ALONE not in path.name.lower()]


@functools.cache
def _face(path: str, index: int, size: int) -> Face | None:
    """Opens a file's font; returns `None` if Pillow cannot use it."""
    for try_size in (size, *BITMAP_SIZES):
        try:
            font = ImageFont.truetype(path, try_size, index)
            plain = font.font_variant(layout_engine=ImageFont.Layout.BASIC)
        except (OSError, ValueError):
            continue
        return Face(font, plain, size / try_size)
    return None


@functools.cache
def _has(face: Face, character: str) -> bool:
    """Tells if a font draws a character, and not only its box."""
    drawn = _drawn(face.plain, character)
    return drawn.getbbox() is not None and drawn != _box(face)


@functools.cache
def _box(face: Face) -> Image.Image:
    return _drawn(face.plain, _NO_CHARACTER)


def _drawn(font: ImageFont.FreeTypeFont, character: str) -> Image.Image:
    side = int(4 * font.size)
    image = Image.new("RGBA", (side, side))
    place = (side // 2, side // 2)
    draw = ImageDraw.Draw(image)
    draw.text(place, character, "black", font, "ls", embedded_color=True)
    return image
