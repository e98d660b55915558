"""Published VQGANs, by name."""

from keras_dalle.models.keras_hub_private import register_presets
from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone

BACKBONE_PRESETS = {
    "vqgan_imagenet_f16_16384": {
        "metadata": {
            "description": (
                "256×256 pixels to 16×16 tokens of 16,384 codes: what DALL·E mini and "
                "Mega draw with. Trained on ImageNet by CompVis."
            ),
            "params": 76073859,
            "path": "vqgan",
        },
        "kaggle_handle": "hf://dalle-mini/vqgan_imagenet_f16_16384",
    },
}


def register() -> None:
    """Makes the names known to `VQGANBackbone.from_preset`."""
    register_presets(BACKBONE_PRESETS, VQGANBackbone)
