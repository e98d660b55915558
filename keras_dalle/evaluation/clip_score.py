"""How well pictures fit their prompts, as CLIP sees it: KerasHub's CLIP as a ranker.

Radford et al., Learning transferable visual models from natural language supervision,
https://arxiv.org/abs/2103.00020
"""

# B pictures, H height, W width, S text tokens, E width of the embeddings

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras_hub
import numpy as np
from keras import ops

from keras_dalle.utils import hub

ROWS_AT_ONCE = 16
_PRESET_FILES = ("*.json", "*.h5", "assets/*")


class ClipRanker:
    """Cosine similarity of a picture and its prompt in CLIP's embeddings.

    Pixels, text and its length become CLIP's inputs by the preprocessor of the preset.

    Args:
        backbone: a `keras_hub.models.CLIPBackbone`.
        preprocessor: a `keras_hub.models.CLIPPreprocessor` with an image converter.

    Raises:
        ValueError: the preprocessor has no image converter, or makes pictures of
            another size than the backbone takes.

    Example:
    ```python
    ranker = ClipRanker.from_preset("clip_vit_base_patch32")
    ranked = best_of(text_to_image, "red heart", ranker=ranker)
    ```
    """

    def __init__(
        self,
        backbone: keras_hub.models.CLIPBackbone,
        preprocessor: keras_hub.models.CLIPPreprocessor,
    ):
        wanted = tuple(backbone.vision_encoder.image_shape[:2])
        if preprocessor.image_size != wanted:
            raise ValueError(
                f"`preprocessor` must have an image converter to the {wanted} pixels "
                f"of `backbone`. Received: {preprocessor.image_size}. Load both from "
                "one preset, or set `preprocessor.image_size`."
            )
        self.backbone = backbone
        self.preprocessor = preprocessor

    @classmethod
    def from_preset(cls, preset: str) -> "ClipRanker":
        """Loads KerasHub's CLIP.

        Args:
            preset: a preset's folder, a name that KerasHub knows such as
                `"clip_vit_base_patch32"`, or a handle (`hf://`, `kaggle://`).

        Raises:
            ValueError: it is no preset, or one of another model.
            HubError: it must be downloaded, and cannot be.
        """
        source = str(preset)
        if source.startswith(hub.PREFIX):
            repository = hub.open_repository(source, source)
            source = str(repository.fetch(_PRESET_FILES))
        try:
            backbone = keras_hub.models.CLIPBackbone.from_preset(source)
            preprocessor = keras_hub.models.CLIPPreprocessor.from_preset(source)
        except (ValueError, KeyError) as error:
            raise ValueError(_no_clip(preset, error)) from error
        except OSError as error:
            if Path(source).is_dir():
                raise ValueError(_no_clip(preset, error)) from error
            raise hub.HubError(_unreachable(preset, error)) from error
        return cls(backbone, preprocessor)

    def __call__(
        self,
        prompts: Sequence[str | bytes],
        images: np.ndarray,
        image_tokens: np.ndarray | None = None,
    ) -> np.ndarray:
        """Similarities of pictures and the prompts of the same rows.

        Args:
            prompts: B texts.
            images: uint8 [B, H, W, 3].
            image_tokens: not used: CLIP sees the pixels.

        Returns:
            float32 [B], from -1 to 1.
        """
        if len(prompts) != len(images):
            raise ValueError(
                f"There must be one prompt a picture (={len(images)}). Received: "
                f"{len(prompts)} prompts."
            )
        similarities = [np.zeros(0, np.float32)]
        for i in range(0, len(images), ROWS_AT_ONCE):
            rows = slice(i, i + ROWS_AT_ONCE)
            similarities.append(self._similarities(prompts[rows], images[rows]))
        return np.concatenate(similarities)

    def _similarities(self, prompts, images_BHWC) -> np.ndarray:
        prompts = [_text(prompt) for prompt in prompts]
        inputs = self.preprocessor({"prompts": prompts, "images": images_BHWC})
        image_BE = self.backbone.get_vision_embeddings(inputs["images"])
        text_BE = self.backbone.get_text_embeddings(inputs["token_ids"])
        # Not `backbone(inputs)`: that compares every picture with every prompt.
        return ops.convert_to_numpy(
            ops.sum(_unit_length(image_BE) * _unit_length(text_BE), axis=-1)
        )


def _text(prompt: str | bytes) -> str:
    """CLIP's tokenizer takes valid UTF-8 alone."""
    if isinstance(prompt, bytes):
        return prompt.decode(errors="replace")
    return prompt


def _unit_length(x_BE: Any) -> Any:
    x_BE = ops.cast(x_BE, "float32")
    return x_BE / ops.sqrt(ops.sum(ops.square(x_BE), axis=-1, keepdims=True))


def _no_clip(preset: str, error: Exception) -> str:
    known = ", ".join(keras_hub.models.CLIPBackbone.presets)
    return (
        f"`preset` must be a preset of KerasHub's CLIP: a folder, a handle or one of "
        f"{known}. Received: {preset}. {type(error).__name__}: {error}"
    )


def _unreachable(preset: str, error: Exception) -> str:
    return (
        f"`{preset}` must be downloaded, and cannot be: {type(error).__name__}: "
        f"{error}\n"
        "Where there is a network, run\n"
        '  python -c "import keras_hub.models as m; '
        f"[c.from_preset('{preset}').save_to_preset('downloads/clip') "
        'for c in (m.CLIPBackbone, m.CLIPPreprocessor)]"\n'
        f"and use the folder downloads/clip in place of `{preset}`."
    )
