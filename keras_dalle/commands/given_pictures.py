"""`--image` of `generate` and `client`: pictures of which a part stays, or some of it.

The command line and the columns of a prompts file say the same, by the same names.
"""

# H height, W width, T image tokens

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_dalle.commands import numbers
from keras_dalle.commands.progress import console

if TYPE_CHECKING:
    import numpy as np

Image = Annotated[
    Path | None,
    typer.Option(
        help="A picture to complete or vary, of any size: its middle square is used. "
        "What stays is said by --mask, --keep-rows or --keep-fraction.",
    ),
]
Mask = Annotated[
    Path | None,
    typer.Option(
        help="A picture of --image's size: white where to draw and black elsewhere, or "
        "transparent where to draw."
    ),
]
KeepRows = Annotated[
    str | None,
    typer.Option(
        help="Number of upper pixel rows of --image to keep, or their share.",
        metavar="ROWS|PERCENT%",
    ),
]
KeepFraction = Annotated[
    float | None,
    typer.Option(
        parser=numbers.share,
        metavar="SHARE",
        help="Share of --image's tokens to keep; the seed chooses the places. With "
        "--mask or --keep-rows: the share of the tokens in the part to draw.",
    ),
]


@dataclass(frozen=True)
class GivenPicture:
    """A picture to complete or to vary; all `None` where there is none.

    Attributes:
        image: its file.
        mask: the file that is white where to draw.
        keep_rows: the upper rows of pixels that stay, as "20", or their share, "50%".
        keep_fraction: the share of the image tokens that stay although mask and rows,
            or nothing, say so.
    """

    image: Path | None = None
    mask: Path | None = None
    keep_rows: str | None = None
    keep_fraction: float | None = None

    def __bool__(self) -> bool:
        return self != GivenPicture()

    def within(self, folder: Path) -> "GivenPicture":
        """The same, its files' names seen from a folder."""
        return replace(
            self,
            image=self.image and folder / self.image,
            mask=self.mask and folder / self.mask,
        )

    def or_else(self, default: "GivenPicture") -> "GivenPicture":
        """What is left open is as the default says: the image, or what stays of it."""
        says = self if self.says_what_stays() else default
        return replace(says, image=self.image or default.image)

    def says_what_stays(self) -> bool:
        """Whether anything does."""
        return replace(self, image=None) != GivenPicture()

    def check(self) -> None:
        """Raises `ValueError` where the parts do not go together."""
        if not self:
            return
        is_torn = self.mask is not None and self.keep_rows is not None
        if self.image is None or not self.says_what_stays() or is_torn:
            found = ", ".join(
                f"--{name.replace('_', '-')} {value}"
                for name, value in vars(self).items()
                if value is not None
            )
            raise ValueError(
                "A picture to complete is --image FILE with --mask FILE or --keep-rows "
                f"ROWS, one to vary with --keep-fraction SHARE. Received: {found}"
            )


# What a row is asked with and its seed -> its image tokens, -1 where to draw; `None`
# for no picture.
KnownTokens = Callable[[GivenPicture, int], tuple[int, ...] | None]


def known_tokens_of(task: Any, default: GivenPicture) -> KnownTokens:
    """A function that reads given pictures, each once.

    Args:
        task: a `DalleBartTextToImage`, or a `ServedModel`.
        default: of the command line, where a row gives none.

    Raises:
        OSError, ValueError: the default's files cannot be used. The function raises the
            same of a row's.
    """
    read_once = functools.cache(functools.partial(_read, task))

    def read(given: GivenPicture, seed: int) -> tuple[int, ...] | None:
        whole = given.or_else(default)
        if whole.image is None and not given:
            return None
        whole.check()
        tokens_T, stays_T = read_once(whole.image, whole)
        if whole.keep_fraction is not None:
            stays_T = stays_T | _kept(seed, whole.keep_fraction, len(tokens_T))
        known = zip(tokens_T.tolist(), stays_T.tolist(), strict=True)
        return tuple(token if stays else -1 for token, stays in known)

    if default.image and default.says_what_stays():
        read(default, 0)
    return read


def _kept(seed: int, fraction: float, length: int) -> "np.ndarray":
    from keras_dalle.generation.variations import checked_fractions, kept_positions

    return kept_positions([seed], checked_fractions(fraction, 1), length)[0]


def _read(
    task: Any, path: Path, given: GivenPicture
) -> "tuple[np.ndarray, np.ndarray]":
    """A picture's image tokens int [T], and bool [T] where mask or rows keep them."""
    from keras_dalle.generation.given_images import open_tokens
    from keras_dalle.utils.image_files import read_image

    image_HWC = read_image(path)
    mask_HW = _mask_of(given, image_HWC.shape[:2])
    tell_of_crop(path, *image_HWC.shape[:2])
    tokens_T = task.encode_images(image_HWC)
    side = int(len(tokens_T) ** 0.5)
    stays_T = ~open_tokens(mask_HW, side)
    is_masked = given.mask is not None or given.keep_rows is not None
    if is_masked and (stays_T.all() or not stays_T.any()):
        says = (
            f"--mask {given.mask}" if given.mask else f"--keep-rows {given.keep_rows}"
        )
        part = "nothing to draw in" if stays_T.all() else "nothing of"
        raise ValueError(
            f"{says} leaves {part} {path}. A mask is white, or transparent, where to "
            f"draw; what is drawn are whole squares of a grid, {side}×{side} in all."
        )
    return tokens_T, stays_T


def tell_of_crop(path: Path, height: int, width: int) -> None:
    """Says so where a picture is not used as a whole."""
    if height != width:
        side = min(height, width)
        console.print(
            f"{path} has {width}×{height} pixels: its middle {side}×{side} are used.",
            markup=False,
            soft_wrap=True,
        )


def _mask_of(given: GivenPicture, shape: tuple[int, int]) -> "np.ndarray":
    """Where to draw, bool [H, W]."""
    import numpy as np

    from keras_dalle.utils.image_files import read_mask

    if given.mask is None:
        mask_HW = np.ones(shape, bool)
        if given.keep_rows is not None:
            mask_HW[: _rows_kept(given.keep_rows, shape[0])] = False
        return mask_HW
    mask_HW = read_mask(given.mask)
    if mask_HW.shape != shape:
        raise ValueError(
            "A mask must have its picture's size. Received: "
            f"{_size(mask_HW.shape)} pixels in {given.mask}, {_size(shape)} in "
            f"{given.image}."
        )
    return mask_HW


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}×{shape[0]}"


def _rows_kept(text: str, height: int) -> int:
    """How many of a picture's rows "20" or "50%" means."""
    try:
        if text.endswith("%"):
            rows = round(float(text[:-1]) / 100 * height)
        else:
            rows = int(text)
    except (ValueError, OverflowError):
        rows = 0
    if height == 1:
        raise ValueError(
            "`--keep-rows` needs a picture of several rows of pixels. Received: one "
            "with one."
        )
    if not 0 < rows < height:
        raise ValueError(
            f"`--keep-rows` must be from 1 to {height - 1} rows of this picture's "
            f"{height}, or a share of them such as 50%. Received: {text}"
        )
    return rows
