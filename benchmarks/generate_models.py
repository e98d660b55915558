"""DALL·E mini at its real size, random weights, as a preset and as a SavedModel.

    PYTHONPATH=. python benchmarks/generate_models.py FOLDER

writes FOLDER/preset and FOLDER/saved_model/1 for `generate.py`, each of 1.8 GB. A tiny
VQGAN stands in for the real one, which is measured apart.
"""

import sys
from pathlib import Path

# Arguments of `DalleBartBackbone`, those of `keras_dalle/recipes/mini.py`: written out,
# since peers read them where Keras is not installed.
MINI = {
    "vocabulary_size": 50264,
    "image_vocabulary_size": 16384,
    "num_encoder_layers": 12,
    "num_decoder_layers": 12,
    "num_heads": 16,
    "hidden_dim": 1024,
    "encoder_intermediate_dim": 2730,
    "decoder_intermediate_dim": 2730,
    "max_text_length": 64,
    "image_length": 256,
}
# 16×16 tokens of the real number of codes, decoded within milliseconds.
TINY_VQGAN = {
    "image_size": 16,
    "base_channels": 32,
    "channel_multipliers": (1,),
    "num_res_blocks": 1,
    "attention_resolutions": (),
    "latent_channels": 32,
    "embedding_dim": 4,
    "codebook_size": MINI["image_vocabulary_size"],
}
MERGES = ("a r", "Ġ t", "h e", "Ġ a", "Ġt he")


def preprocessor_of_bytes():
    """A tokenizer of the bytes and a few merges."""
    from keras_dalle.models import DalleBartTextToImagePreprocessor, DalleBartTokenizer
    from keras_dalle.text.vocabulary import SPECIAL_TOKENS, byte_characters

    merged = [merge.replace(" ", "") for merge in MERGES]
    tokens = [*SPECIAL_TOKENS, *byte_characters(), *merged]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = DalleBartTokenizer(vocabulary, MERGES)
    return DalleBartTextToImagePreprocessor(tokenizer, MINI["max_text_length"])


def random_task():
    from keras_dalle.models import (
        DalleBartBackbone,
        DalleBartTextToImage,
        VQGANBackbone,
    )

    backbone, vqgan = DalleBartBackbone(**MINI), VQGANBackbone(**TINY_VQGAN)
    return DalleBartTextToImage(backbone, preprocessor_of_bytes(), vqgan)


def write_models(folder):
    from keras_dalle.saved_model.exporter import export_saved_model

    task = random_task()
    task.save_to_preset(str(folder / "preset"))
    export_saved_model(task, folder / "saved_model", version=1)


if __name__ == "__main__":
    write_models(Path(sys.argv[1]))
