"""Pictures on disk, each with what it was drawn from: PNG, JPEG and WebP."""

# H height, W width

import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from keras_dalle.utils.atomic import atomic_file
from keras_dalle.utils.picture_metadata import KEY, MetadataError, PictureMetadata

MAX_FILE_BYTES = 2**29
_EXIF_IFD = 0x8769
_USER_COMMENT = 0x9286
# EXIF's name of the encoding, which comes before the text.
_ASCII = b"ASCII\0\0\0"
# What Pillow raises on damaged files, beside OSError and ValueError.
_DAMAGE = (
    SyntaxError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
)
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


# Bytes that some formats have at a fixed place near their beginning.
_SIGNATURES = (
    ("PNG", 0, b"\x89PNG\r\n"),
    ("JPEG", 0, b"\xff\xd8\xff"),
    ("WEBP", 8, b"WEBP"),
    ("GIF", 0, b"GIF8"),
    ("BMP", 0, b"BM"),
    ("TIFF", 0, b"II*\0"),
    ("TIFF", 0, b"MM\0*"),
    ("TIFF", 0, b"II+\0"),
    ("AVIF", 4, b"ftypavif"),
    ("AVIF", 4, b"ftypavis"),
    ("HEIF", 4, b"ftyphei"),
    ("HEIF", 4, b"ftyphev"),
    ("HEIF", 4, b"ftypmif1"),
    ("HEIF", 4, b"ftypmsf1"),
    ("JPEG 2000", 0, b"\0\0\0\x0cjP  "),
    ("JPEG 2000", 0, b"\xff\x4f\xff\x51"),
    ("JPEG XL", 0, b"\0\0\0\x0cJXL "),
    ("JPEG XL", 0, b"\xff\x0a"),
    ("PDF", 0, b"%PDF"),
    ("Photoshop", 0, b"8BPS"),
    ("SVG or other XML", 0, b"<svg"),
    ("SVG or other XML", 0, b"<?xml"),
)
_HEADER_BYTES = 16


class PictureRefused(ValueError):
    """A whole picture that cannot be read, with the reason."""


@dataclass(frozen=True)
class PictureFormat:
    """A format that pictures are written in.

    Attributes:
        name: Pillow's.
        max_side: pixels, by the format.
        max_exif_bytes: by the format; `None` where there is no such limit.
        options: of Pillow's encoder.
    """

    name: str
    max_side: int
    max_exif_bytes: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


_JPEG = PictureFormat("JPEG", 65_500, 65_527, {"quality": 95, "subsampling": 0})
# By a file's ending. WebP without loss, so that it holds the same pixels as PNG.
FORMATS = {
    ".png": PictureFormat("PNG", 2**31 - 1),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": PictureFormat("WEBP", 16_383, options={"lossless": True}),
}
_NAMES = tuple(sorted({known.name for known in FORMATS.values()}))


@dataclass(frozen=True)
class StoredPicture:
    """What `read_picture` found.

    Attributes:
        pixels_HWC: uint8 [H, W, 3].
        metadata: what the picture was drawn from.
        format: of the file, whatever its name says.
    """

    pixels_HWC: np.ndarray
    metadata: PictureMetadata
    format: PictureFormat


def picture_format(path: str | os.PathLike) -> PictureFormat:
    """The format that a file's ending names.

    Raises:
        ValueError: it names none of `FORMATS`.
    """
    known = FORMATS.get(Path(path).suffix.lower())
    if known is None:
        raise ValueError(
            f"A picture's file must end in {', '.join(FORMATS)}. Received: "
            f"{os.fspath(path)}"
        )
    return known


def check_metadata_fits(metadata: PictureMetadata, path: str | os.PathLike) -> None:
    """Raises ValueError if a file of this ending cannot hold the metadata.

    It can be asked before there are pictures: their fingerprints are counted in.
    """
    kind = picture_format(path)
    size = len(_text_for(kind, metadata)) + 66 * len(metadata.pictures) + 100
    if kind.max_exif_bytes is not None and size > kind.max_exif_bytes:
        raise ValueError(
            f"{kind.name} holds at most {kind.max_exif_bytes:,} bytes of metadata. "
            f"Received: {len(metadata.pictures)} pictures with {size:,}. Write a .png "
            "or .webp, or single pictures into a folder."
        )


def encode_picture(
    image: Image.Image, kind: PictureFormat, metadata: PictureMetadata | None = None
) -> bytes:
    """A picture's file as bytes.

    Args:
        image: any Pillow image.
        kind: one of `FORMATS`.
        metadata: what the picture was drawn from; written into the file.

    Raises:
        ValueError: the picture is too large for the format.
    """
    if max(image.size) > kind.max_side:
        raise ValueError(
            f"{kind.name} holds at most {kind.max_side} pixels a side. Received: "
            f"{image.width}×{image.height}. Write a .png, or fewer pictures a row."
        )
    options = dict(kind.options)
    if metadata is not None and kind.name == "PNG":
        options["pnginfo"] = png_info = PngImagePlugin.PngInfo()
        png_info.add_itxt(KEY, _text_for(kind, metadata))
    elif metadata is not None:
        options["exif"] = exif = Image.Exif()
        text = _text_for(kind, metadata)
        exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = _ASCII + text.encode("ascii")
    buffer = io.BytesIO()
    image.save(buffer, format=kind.name, **options)
    return buffer.getvalue()


def _text_for(kind: PictureFormat, metadata: PictureMetadata) -> str:
    """UTF-8 in PNG's text; EXIF's comments are sure to be read as ASCII alone."""
    return metadata.to_json(ascii_only=kind.name != "PNG")


def save_picture(
    image: Image.Image,
    path: str | os.PathLike,
    metadata: PictureMetadata | None = None,
) -> Path:
    """Writes a picture in the format of the file's ending, whole or not at all.

    Args:
        image: any Pillow image.
        path: the file; missing folders are made.
        metadata: what it was drawn from; written into the file.

    Returns:
        The path.

    Raises:
        ValueError: the ending names no format, or the format cannot hold the picture.
    """
    content = encode_picture(image, picture_format(path), metadata)
    with atomic_file(path) as file:
        file.write(content)
    return Path(path)


def read_picture(path: str | os.PathLike) -> StoredPicture:
    """The pixels of a picture file, and what it was drawn from.

    Raises:
        OSError: there is no such file.
        ValueError: it is no picture, damaged, or larger than this package writes.
        MetadataError: it has no metadata of this package, or its metadata is wrong.
    """
    with Path(path).open("rb") as file, opened_picture(file, path, _NAMES) as image:
        metadata = _metadata_of(image, path)
        # Pillow calls a JPEG with further pictures behind it MPO.
        known = (kind for kind in FORMATS.values() if kind.name == image.format)
        kind = next(known, _JPEG)
        return StoredPicture(np.asarray(image.convert("RGB")), metadata, kind)


def read_metadata(path: str | os.PathLike) -> PictureMetadata:
    """What a picture file was drawn from; its pixels are not decoded.

    Raises:
        OSError, ValueError, MetadataError: as by `read_picture`.
    """
    with Path(path).open("rb") as file, opened_picture(file, path, _NAMES) as image:
        return _metadata_of(image, path)


def decode_pixels(content: bytes) -> np.ndarray:
    """The pixels of a picture file given as bytes: uint8 [H, W, 3]."""
    file = io.BytesIO(content)
    with opened_picture(file, "the picture", _NAMES) as image:
        return np.asarray(image.convert("RGB"))


@contextmanager
def opened_picture(
    file: BinaryIO, name: str | os.PathLike, formats: tuple[str, ...]
) -> Iterator[Image.Image]:
    """A picture from outside; whatever is wrong with it becomes a ValueError.

    Args:
        file: open for reading.
        name: of the file, for messages.
        formats: Pillow's names of those that are read.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    found = _format_of(file.read(_HEADER_BYTES))
    file.seek(0)
    if size > MAX_FILE_BYTES:
        raise ValueError(
            f"A picture must have at most {MAX_FILE_BYTES:,} bytes. Received: "
            f"{os.fspath(name)} with {size:,}."
        )
    if found is not None and found not in formats:
        raise PictureRefused(
            f"A picture must be in {', '.join(formats)}. Received: {os.fspath(name)} "
            f"in {'HEIC (HEIF)' if found == 'HEIF' else found}. Save it as PNG or JPEG."
        )
    quiet = _without_libtiff_lines() if found == "TIFF" else nullcontext()
    try:
        with quiet, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # Pillow warns of odd EXIF, which is no reason to refuse a picture.
            warnings.simplefilter("ignore", UserWarning)
            with Image.open(file, formats=formats) as image:
                yield image
    except _BOMBS as error:
        raise ValueError(
            f"A picture must have at most {Image.MAX_IMAGE_PIXELS:,} pixels. "
            f"Received: {os.fspath(name)}. {error}"
        ) from error
    except (MetadataError, PictureRefused):
        raise
    except UnidentifiedImageError as error:
        raise ValueError(
            f"{os.fspath(name)} must be a whole picture in {', '.join(formats)}. It is "
            "none, is damaged, or has colours that Pillow does not read. Save it anew "
            "as PNG or JPEG."
        ) from error
    except (OSError, ValueError, *_DAMAGE) as error:
        raise ValueError(
            f"{os.fspath(name)} must be a whole picture in {', '.join(formats)}. It "
            f"cannot be read: {type(error).__name__}: {error}"
        ) from error


def _format_of(header: bytes) -> str | None:
    """Finds the format by a file's first bytes, as Pillow's name if it has one."""
    for name, place, signature in _SIGNATURES:
        if header[place:].startswith(signature):
            return name
    return None


@contextmanager
def _without_libtiff_lines() -> Iterator[None]:
    """Hides libtiff's lines on standard error, since Pillow raises too."""
    try:
        kept = os.dup(2)
    except OSError:  # closed
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _metadata_of(image: Image.Image, name: str | os.PathLike) -> PictureMetadata:
    text = _stored_text(image)
    if text is None:
        raise MetadataError(
            f"{os.fspath(name)} must be a picture that `keras-dalle` wrote. Received: "
            "one without its metadata, which many programs drop when they save or "
            "send a picture."
        )
    try:
        return PictureMetadata.from_json(text)
    except MetadataError as error:
        raise MetadataError(f"{os.fspath(name)}: {error}") from error


def _stored_text(image: Image.Image) -> str | None:
    if isinstance(image, PngImagePlugin.PngImageFile):
        # `text` reads the whole file, for programs that move it behind the pixels.
        text = image.info.get(KEY) or image.text.get(KEY)
        return None if text is None else str(text)
    comment = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT)
    if not isinstance(comment, bytes) or not comment.startswith(_ASCII + b"{"):
        return None
    return comment.removeprefix(_ASCII).rstrip(b"\0 ").decode("ascii", "replace")
