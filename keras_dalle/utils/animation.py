"""Animated GIFs."""

# N frames, H height, W width

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from keras_dalle.utils.atomic import atomic_file

# GIF counts hundredths of a second in 16 bits.
TICK_MS = 10
MAX_TOTAL_MS = TICK_MS * (2**16 - 1)
_PALETTE_FRAMES = 8


def save_gif(
    frames_NHWC: np.ndarray,
    path: str | os.PathLike,
    *,
    frame_ms: int = 100,
    last_frame_ms: int = 2000,
) -> Path:
    """Writes frames as a GIF that repeats forever, whole or not at all.

    All frames share 256 colours and are not dithered, so that what does not change
    from frame to frame does not flicker.

    Args:
        frames_NHWC: uint8 [N, H, W, 3].
        path: the file, ending in .gif; missing folders are made.
        frame_ms: how long each frame is shown.
        last_frame_ms: how long the last one is.

    Returns:
        The path.

    Raises:
        ValueError: wrong shape, type or ending, or a time that GIF cannot hold.
    """
    _check(np.asarray(frames_NHWC), path, frame_ms, last_frame_ms)
    palette = _common_palette(frames_NHWC)
    images = [
        Image.fromarray(frame_HWC).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame_HWC in frames_NHWC
    ]
    buffer = io.BytesIO()
    images[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=[frame_ms] * (len(images) - 1) + [last_frame_ms],
        loop=0,
    )
    with atomic_file(path) as file:
        file.write(buffer.getvalue())
    return Path(path)


def _common_palette(frames_NHWC: np.ndarray) -> Image.Image:
    """256 colours for all frames, from a few of them, the last among these."""
    count = min(_PALETTE_FRAMES, len(frames_NHWC))
    chosen = np.linspace(len(frames_NHWC) - 1, 0, count).round().astype(int)
    pixels = np.concatenate([frames_NHWC[i] for i in chosen])
    return Image.fromarray(pixels).quantize(256, dither=Image.Dither.NONE)


def _check(
    frames_NHWC: np.ndarray, path: str | os.PathLike, frame_ms: int, last_frame_ms: int
) -> None:
    shape = frames_NHWC.shape
    if len(shape) != 4 or 0 in shape or shape[3] != 3 or frames_NHWC.dtype != np.uint8:
        raise ValueError(
            "`frames_NHWC` must be uint8 [N, H, W, 3] with N > 0. Received: "
            f"{frames_NHWC.dtype} {shape}"
        )
    if Path(path).suffix.lower() != ".gif":
        raise ValueError(f"`path` must end in .gif. Received: {os.fspath(path)}")
    total = frame_ms * (len(frames_NHWC) - 1) + last_frame_ms
    if min(frame_ms, last_frame_ms) < TICK_MS or total > MAX_TOTAL_MS:
        raise ValueError(
            f"`frame_ms` and `last_frame_ms` must be at least {TICK_MS}, and all "
            f"frames together take at most {MAX_TOTAL_MS} ms. Received: {frame_ms}, "
            f"{last_frame_ms}, and {len(frames_NHWC)} frames"
        )
