"""Render every Unicode emoji of a colour font and pair it with its CLDR name."""

# N pictures, H height, W width

import os
import re
from dataclasses import dataclass
from pathlib import Path

import emoji
import numpy as np
from PIL import Image, ImageDraw, ImageFont, features
from rich.progress import track

from keras_dalle.utils.fonts import BITMAP_SIZES

FONT_PATHS = (
    "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",  # Debian, Ubuntu
    "/usr/share/fonts/google-noto-color-emoji-fonts/NotoColorEmoji.ttf",  # Fedora
    "/usr/share/fonts/noto/NotoColorEmoji.ttf",  # Arch
    "/usr/share/fonts/noto-emoji/NotoColorEmoji.ttf",  # Alpine, Fedora
    "/opt/homebrew/share/fonts/NotoColorEmoji.ttf",
    "/usr/local/share/fonts/NotoColorEmoji.ttf",
)
INSTALL_FONT = "sudo apt-get install -y fonts-noto-color-emoji"
INSTALL_SHAPING = "sudo apt-get install -y libraqm0 libfribidi0"

SKIN_TONES = {
    "\U0001f3fb": "light skin tone",
    "\U0001f3fc": "medium-light skin tone",
    "\U0001f3fd": "medium skin tone",
    "\U0001f3fe": "medium-dark skin tone",
    "\U0001f3ff": "dark skin tone",
}
_HAIR = {
    "\U0001f9b0": "red hair",
    "\U0001f9b1": "curly hair",
    "\U0001f9b2": "bald",
    "\U0001f9b3": "white hair",
    "\U0001f471": "blond hair",
    "\U0001f9d4": "beard",
}
_GROUPS = ("family", "kiss", "couple with heart")
_MEMBERS = ("man", "woman", "person", "adult", "child", "boy", "girl")
_TAG_END = "\U000e007f"
_KEYCAPS = ("\u20e3", "\U0001f51f")
_REFERENCE = "\U0001f600"


@dataclass(frozen=True)
class RenderReport:
    """How many emoji were drawn, and how many were left out and why."""

    rendered: int
    rejected_multiple_glyphs: int
    rejected_missing: int
    rejected_duplicates: int


@dataclass(frozen=True)
class EmojiPictures:
    """Captioned pictures: `captions` [N], `sequences` [N], `images` [N, H, W, 3]."""

    captions: list[str]
    sequences: list[str]
    images: np.ndarray
    report: RenderReport


def fully_qualified_sequences() -> list[str]:
    """Returns the fully qualified emoji sequences, shortest caption first.

    Of emoji with identical pictures, the one with the plainest name comes first:
    "flag: Norway" before "flag: Svalbard & Jan Mayen".
    """
    status = emoji.STATUS["fully_qualified"]
    found = [s for s, row in emoji.EMOJI_DATA.items() if row["status"] == status]
    return sorted(found, key=lambda sequence: (len(caption_of(sequence)), sequence))


def caption_of(sequence: str) -> str:
    """Returns the CLDR English name of an emoji sequence.

    The `emoji` package flattens "woman firefighter: dark skin tone" to
    ":woman_firefighter_dark_skin_tone:"; which of the words are qualifiers follows
    from the sequence, by the rules of Unicode TR35, part 2, "Synthesizing Sequence
    Names".

    Raises:
        KeyError: `sequence` is not in the table of the `emoji` package.
    """
    name = emoji.EMOJI_DATA[sequence]["en"].strip(":").replace("_", " ")
    if _is_flag(sequence):
        return f"flag: {name}"
    if sequence.endswith(_KEYCAPS):
        return name.replace("keycap ", "keycap: ")
    if japanese_button := re.fullmatch("Japanese (.+) button", name):
        return f"Japanese “{japanese_button[1]}” button"
    return _separate_qualifiers(name, _qualifiers(sequence, name))


def _is_flag(sequence: str) -> bool:
    return "\U0001f1e6" <= sequence[0] <= "\U0001f1ff" or sequence.endswith(_TAG_END)


def _qualifiers(sequence: str, name: str) -> list[str]:
    named = SKIN_TONES | _HAIR
    found = [named[character] for character in sequence if character in named]
    return found + list(_MEMBERS) if name.startswith(_GROUPS) else found


def _separate_qualifiers(name: str, qualifiers: list[str]) -> str:
    if not qualifiers:
        return name
    choice = "|".join(map(re.escape, qualifiers))
    parts = re.fullmatch(f"(.+?)((?: (?:{choice}))+)", name)
    if parts is None:
        return name
    return f"{parts[1]}: {', '.join(re.findall(f' ({choice})(?= |$)', parts[2]))}"


def find_font(font: str | os.PathLike | None = None) -> Path:
    """Returns the path of the colour font: `font`, or the first of `FONT_PATHS`.

    Raises:
        FileNotFoundError: There is no such file; the message says how to get one.
    """
    candidates = FONT_PATHS if font is None else (font,)
    for path in candidates:
        if Path(path).is_file():
            return Path(path)
    raise FileNotFoundError(
        f"`font` must be the path of a colour emoji font. Received: font={font}, and "
        f"there is no file {' or '.join(map(str, candidates))}. Noto Color Emoji is "
        f"installed by `{INSTALL_FONT}`."
    )


def check_shaping() -> None:
    """Checks that Pillow can shape emoji sequences into single glyphs.

    Raises:
        RuntimeError: Raqm or FriBidi is missing; the message says how to get it.
    """
    missing = [name for name in ("raqm", "fribidi") if not features.check(name)]
    if missing:
        raise RuntimeError(
            "Emoji sequences need Pillow with Raqm and FriBidi. Missing: "
            f"{', '.join(missing)}. Install them with `{INSTALL_SHAPING}`."
        )


def render_emoji(
    image_size: int = 64, font: str | os.PathLike | None = None
) -> EmojiPictures:
    """Draws all fully qualified emoji that the font has as one glyph.

    Args:
        image_size: Height and width of the pictures, in pixels.
        font: Path of a colour bitmap font. Noto Color Emoji if `None`.

    Returns:
        `EmojiPictures` with uint8 images [N, image_size, image_size, 3] on white, in
        the order of `fully_qualified_sequences`, without repeated pictures.

    Raises:
        FileNotFoundError: The font is missing.
        RuntimeError: Raqm or FriBidi is missing.
        ValueError: `image_size` or the font cannot be used.
    """
    if image_size < 1:
        raise ValueError(f"`image_size` must be positive. Received: {image_size}")
    check_shaping()
    face = _load(find_font(font))
    captions, sequences, images = [], [], []
    seen: set[bytes] = set()
    rejected = {"multiple_glyphs": 0, "missing": 0, "duplicates": 0}
    for sequence in track(fully_qualified_sequences(), "Rendering emoji"):
        if fault := _fault(face, sequence):
            rejected[fault] += 1
            continue
        picture = _draw(face, sequence)
        if picture.tobytes() in seen:
            rejected["duplicates"] += 1
            continue
        seen.add(picture.tobytes())
        captions.append(caption_of(sequence))
        sequences.append(sequence)
        images.append(_resize(picture, image_size))
    report = RenderReport(
        rendered=len(images),
        rejected_multiple_glyphs=rejected["multiple_glyphs"],
        rejected_missing=rejected["missing"],
        rejected_duplicates=rejected["duplicates"],
    )
    return EmojiPictures(captions, sequences, np.stack(images), report)


def _load(path: Path) -> ImageFont.FreeTypeFont:
    for size in BITMAP_SIZES:
        try:
            face = ImageFont.truetype(
                str(path), size, layout_engine=ImageFont.Layout.RAQM
            )
        except OSError:
            continue
        if _fault(face, _REFERENCE) is None and _draws_colours(face):
            return face
    raise ValueError(
        f"`font` must be a colour bitmap font that draws emoji at one of the sizes "
        f"{BITMAP_SIZES}. Received: {path}. Noto Color Emoji is installed by "
        f"`{INSTALL_FONT}`."
    )


def _draws_colours(face: ImageFont.FreeTypeFont) -> bool:
    red, green, blue = _draw(face, _REFERENCE).split()
    return red.tobytes() != green.tobytes() or green.tobytes() != blue.tobytes()


def _fault(face: ImageFont.FreeTypeFont, sequence: str) -> str | None:
    """Says why the font cannot draw the sequence as one glyph, if it cannot."""
    if face.getlength(sequence) > face.getlength(_REFERENCE):
        return "multiple_glyphs"
    left, top, right, bottom = face.getbbox(sequence)
    return "missing" if right == left or bottom == top else None


def _draw(face: ImageFont.FreeTypeFont, sequence: str) -> Image.Image:
    """Draws the glyph's whole cell, centred on a white square."""
    left, top, right, bottom = face.getbbox(sequence)
    width, height = int(right - left), int(bottom - top)
    side = max(width, height)
    square = Image.new("RGBA", (side, side), "white")
    cell = Image.new("RGBA", (width, height), (255, 255, 255, 0))
    ImageDraw.Draw(cell).text((-left, -top), sequence, font=face, embedded_color=True)
    square.alpha_composite(cell, ((side - width) // 2, (side - height) // 2))
    return square.convert("RGB")


def _resize(picture: Image.Image, image_size: int) -> np.ndarray:
    size = (image_size, image_size)
    return np.asarray(picture.resize(size, Image.Resampling.LANCZOS))
