"""File names that say what is in a picture, and are safe on every system."""

import re
import unicodedata

import emoji

from keras_dalle.utils.foreign_values import shortened

MAX_NAME_BYTES = 120
NAMELESS = "picture"
# On Windows, a name's letter case tells nothing, and these mean something.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')


def slug_of(text: str, max_bytes: int = MAX_NAME_BYTES) -> str:
    """The words of a text, joined by hyphens, as a part of a file name.

    Letters, digits and marks of all scripts stay; emoji become their names.

    Args:
        text: any text.
        max_bytes: of the slug in UTF-8.
    """
    text = emoji.demojize(text, delimiters=(" ", " "))
    text = unicodedata.normalize("NFKC", text).lower()
    kept = (c if unicodedata.category(c)[0] in "LNM" else " " for c in text)
    slug = "-".join("".join(kept).split())
    # Composed, as most file systems write names.
    slug = (
        unicodedata.normalize("NFC", slug).encode()[:max_bytes].decode(errors="ignore")
    )
    return slug.strip("-") or NAMELESS


def check_file_name(name: str) -> None:
    """Raises ValueError unless a name, without its ending, is safe on every system."""
    is_safe = (
        name == name.strip()
        and name[:1] not in ("", ".", "-")
        and not name.endswith(".")
        and not _UNSAFE.search(name)
        and all(unicodedata.category(c) != "Cs" for c in name)
        and len(name.encode(errors="replace")) <= MAX_NAME_BYTES
    )
    if not is_safe:
        raise ValueError(
            f"A name must be a file's, without its ending: at most {MAX_NAME_BYTES} "
            'bytes, none of / \\ : * ? " < > |, no dot, hyphen or space at its head '
            f"and no dot or space at its end. Received: {shortened(name)}"
        )


def numbered(name: str, number: int) -> str:
    """The name for the first, and `name_2`, `name_3` … for others."""
    return name if number == 1 else f"{name}_{number}"


def name_key(name: str) -> str:
    """Equal for names that are one file on a system that ignores letter case."""
    return unicodedata.normalize("NFC", name).casefold()
