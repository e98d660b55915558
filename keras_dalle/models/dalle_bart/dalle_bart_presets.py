"""The preset that ships with the package, and published models, by name."""

import os
from pathlib import Path
from typing import Any

from keras_dalle.models.dalle_bart.dalle_bart_backbone import DalleBartBackbone
from keras_dalle.models.keras_hub_private import register_presets

PRESETS_DIRECTORY = Path(__file__).parents[2] / "presets"

# KerasHub's fields; `vqgan` is ours: the preset that an original is to draw with.
BACKBONE_PRESETS: dict[str, dict[str, Any]] = {
    "emoji_tiny": {
        "metadata": {
            "description": (
                "64×64 emoji from their names. Trained by this project on the emoji "
                "of Noto Color Emoji."
            ),
            "path": "dalle_bart",
        },
        # KerasHub's name of the field; a folder does as well as a handle.
        "kaggle_handle": str(PRESETS_DIRECTORY / "emoji_tiny"),
    },
    "dalle_mini": {
        "metadata": {
            "description": (
                "DALL·E mini: 256×256 pixels from English captions. Trained by "
                "Boris Dayma and others on 15 million captioned pictures."
            ),
            "params": 437833712,
            "path": "dalle_bart",
        },
        "kaggle_handle": "hf://dalle-mini/dalle-mini",
        "vqgan": "vqgan_imagenet_f16_16384",
    },
    "dalle_mega": {
        "metadata": {
            "description": (
                "DALL·E Mega: the same, six times as large, and trained for longer."
            ),
            "params": 2587521024,
            "path": "dalle_bart",
        },
        "kaggle_handle": "hf://dalle-mini/dalle-mega",
        "vqgan": "vqgan_imagenet_f16_16384",
    },
}


def vqgan_of(preset: str | os.PathLike) -> str | None:
    """The preset of the VQGAN that a published model draws with.

    Args:
        preset: a name or a handle, as of `from_preset`.
    """
    for name, fields in BACKBONE_PRESETS.items():
        if preset in (name, fields["kaggle_handle"]):
            return fields.get("vqgan")
    return None


def register() -> None:
    """Makes the names known to every `from_preset`.

    `register_presets` is KerasHub's own, and not public.
    """
    register_presets(BACKBONE_PRESETS, DalleBartBackbone)
