"""SHA-256 of pictures and of presets."""

# H height, W width

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

# Configurations, weights and vocabularies, in KerasHub's format and the original's.
_MODEL_SUFFIXES = (".json", ".h5", ".msgpack", ".txt")
# KerasHub's notes: the date of saving, the versions.
_NOTES = "metadata.json"


def fingerprint_of_pixels(image_HWC: np.ndarray) -> str:
    """The SHA-256 of a picture's shape and pixels.

    Args:
        image_HWC: uint8 [H, W, 3].
    """
    shape = ",".join(map(str, image_HWC.shape))
    return hashlib.sha256(f"{shape}:".encode() + image_HWC.tobytes()).hexdigest()


def fingerprint_of_preset(folders: Sequence[str | os.PathLike]) -> str:
    """The SHA-256 of a preset's configurations, weights and vocabularies.

    It depends on the files' names and contents alone, and not on where they are.

    Args:
        folders: the preset's, and that of its VQGAN if it has one of its own.
    """
    total = hashlib.sha256()
    for number, folder in enumerate(map(Path, folders)):
        for name in sorted(_model_files(folder)):
            with (folder / name).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            total.update(f"{number}/{name}\0{digest}\n".encode())
    return total.hexdigest()


def fingerprint_of_width(fingerprint: str, weights: str) -> str:
    """The SHA-256 of a preset that is loaded with weights of a width.

    Args:
        fingerprint: of the preset.
        weights: the width's name.
    """
    return hashlib.sha256(f"{fingerprint} {weights}".encode()).hexdigest()


def _model_files(folder: Path) -> list[str]:
    return [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix in _MODEL_SUFFIXES and path.is_file() and path.name != _NOTES
    ]
