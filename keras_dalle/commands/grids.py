"""From PNG bytes or arrays, with their prompts, to one picture on disk."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from keras_dalle.utils.images import image_grid, save_image

MAX_LABEL_CHARACTERS = 80


def write_grid(
    images: np.ndarray,
    prompts: Sequence[str],
    path: Path,
    *,
    columns: int | None = None,
    labels: bool = True,
) -> Path:
    """Writes pictures as a grid, each over its prompt.

    Args:
        images: uint8 [N, H, W, 3].
        prompts: N texts.
        path: The file; its suffix names the format.
        columns: Pictures a row. Default: about a square.
        labels: Whether prompts are written under the pictures.
    """
    texts = [_label(prompt) for prompt in prompts] if labels else None
    return save_image(image_grid(images, columns, texts), path)


def decode_pngs(pngs: Sequence[bytes]) -> np.ndarray:
    """N PNG files of one size to uint8 [N, H, W, 3]."""
    return np.stack(
        [np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) for png in pngs]
    )


def prompt_bytes(prompt: str) -> bytes:
    """The bytes that were typed, which need not be valid UTF-8."""
    return os.fsencode(prompt)


def _label(prompt: str) -> str:
    text = prompt_bytes(prompt).decode(errors="replace")
    if len(text) <= MAX_LABEL_CHARACTERS:
        return text
    return text[: MAX_LABEL_CHARACTERS - 1] + "…"
