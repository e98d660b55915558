"""KerasHub's CLIP with a few thousand random weights, as a preset's folder."""

import keras
import keras_hub

# "</w>" ends a word, as in CLIP's vocabulary; the end token has the highest id, by
# which CLIP finds the place of the text's embedding.
VOCABULARY = {
    token: i
    for i, token in enumerate(
        ["!", *"abcdefghijklmnopqrstuvwxyz"]
        + [f"{letter}</w>" for letter in "abcdefghijklmnopqrstuvwxyz"]
        + ["re", "red</w>", "<|startoftext|>", "<|endoftext|>"]
    )
}
MERGES = ["r e", "re d</w>"]
IMAGE_SIZE = 8
TEXT_LENGTH = 12
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def tiny_clip() -> tuple[
    keras_hub.models.CLIPBackbone, keras_hub.models.CLIPPreprocessor
]:
    """Sees 8×8 pixels as four patches."""
    keras.utils.set_random_seed(0)
    sizes = {"hidden_dim": 16, "num_layers": 1, "num_heads": 2, "intermediate_dim": 24}
    backbone = keras_hub.models.CLIPBackbone(
        vision_encoder=keras_hub.models.CLIPVisionEncoder(
            patch_size=4, image_shape=(IMAGE_SIZE, IMAGE_SIZE, 3), **sizes
        ),
        text_encoder=keras_hub.models.CLIPTextEncoder(
            vocabulary_size=len(VOCABULARY),
            embedding_dim=16,
            max_sequence_length=TEXT_LENGTH,
            **sizes,
        ),
        projection_dim=6,
    )
    tokenizer = keras_hub.models.CLIPTokenizer(VOCABULARY, MERGES)
    image_converter = keras_hub.layers.CLIPImageConverter(
        image_size=(IMAGE_SIZE, IMAGE_SIZE),
        scale=[1 / 255 / std for std in STD],
        offset=[-mean / std for mean, std in zip(MEAN, STD, strict=True)],
        interpolation="bicubic",
    )
    preprocessor = keras_hub.models.CLIPPreprocessor(
        tokenizer, image_converter, sequence_length=TEXT_LENGTH
    )
    return backbone, preprocessor


def save_tiny_clip(folder) -> None:
    """Saves both, as KerasHub does."""
    for part in tiny_clip():
        part.save_to_preset(str(folder))
