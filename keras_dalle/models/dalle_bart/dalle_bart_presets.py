"""Presets that ship with the package."""

from pathlib import Path

from keras_hub.src.utils.preset_utils import register_presets

from keras_dalle.models.dalle_bart.dalle_bart_backbone import DalleBartBackbone

PRESETS_DIRECTORY = Path(__file__).parents[2] / "presets"

BACKBONE_PRESETS = {
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
}


def register() -> None:
    """Makes the names known to every `from_preset`.

    `register_presets` is KerasHub's own, and not public.
    """
    register_presets(BACKBONE_PRESETS, DalleBartBackbone)
