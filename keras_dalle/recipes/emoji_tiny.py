"""Emoji, tiny: 2 CPU cores, 36 min, top-1 of 76.5% on the training captions.

Prompts to 64×64 emoji, over the tokens of the emoji VQGAN; docs/emoji.md has the
figures.

keras-dalle train --recipe emoji_tiny --run-dir runs/emoji_tiny
"""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_dalle.data.emoji_dataset import emoji_split
from keras_dalle.data.training_input import training_batches
from keras_dalle.models.dalle_bart.dalle_bart_backbone import DalleBartBackbone
from keras_dalle.models.dalle_bart.dalle_bart_text_to_image import DalleBartTextToImage
from keras_dalle.models.dalle_bart.dalle_bart_text_to_image_preprocessor import (
    DalleBartTextToImagePreprocessor,
)
from keras_dalle.models.dalle_bart.dalle_bart_tokenizer import DalleBartTokenizer
from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone
from keras_dalle.text.vocabulary import train_vocabulary
from keras_dalle.trainer.callbacks import SampleGrid
from keras_dalle.trainer.trainer import TrainingRun
from keras_dalle.utils.weight_files import store_half_precision

BATCH_SIZE = 32
LEARNING_RATE = 1e-3
VOCABULARY_SIZE = 2000
MAX_TEXT_LENGTH = 32
SEED = 0
SAMPLE_PROMPTS = [
    "red heart",
    "pizza",
    "rocket",
    "flag: Japan",
    "cat face",
    "sunflower",
    "woman firefighter: dark skin tone",
    "man astronaut: medium skin tone",
]


def emoji_tiny(
    run_directory: Path, data_directory: Path, epochs: int = 32
) -> TrainingRun:
    """The run that trains the shipped preset, after `emoji_vqgan`.

    Its VQGAN is the one in `emoji_vqgan/preset` beside the run's folder.
    """
    keras.utils.set_random_seed(SEED)
    captions, images = emoji_split(data_directory, "train")
    vqgan = VQGANBackbone.from_preset(run_directory.parent / "emoji_vqgan" / "preset")
    text_to_image = build(vqgan, captions)
    steps_per_epoch = len(captions) // BATCH_SIZE
    text_to_image.compile(optimizer=optimizer(epochs * steps_per_epoch))
    arrays = preprocessed(text_to_image, captions, images)
    validation = preprocessed(text_to_image, *emoji_split(data_directory, "validation"))
    # What `fit` sees is preprocessed once, here, instead of at every step.
    preprocessor, text_to_image.preprocessor = text_to_image.preprocessor, None

    def samples():
        text_to_image.preprocessor = preprocessor
        pictures = text_to_image.generate(SAMPLE_PROMPTS, seed=SEED)
        text_to_image.preprocessor = None
        return pictures

    def save(directory):
        text_to_image.preprocessor = preprocessor
        text_to_image.save_to_preset(str(directory))
        store_half_precision(directory)

    return TrainingRun(
        model=text_to_image,
        training_data=lambda step: training_batches(
            arrays, BATCH_SIZE, seed=SEED, first_step=step
        ),
        validation_data=tf.data.Dataset.from_tensor_slices(validation).batch(
            BATCH_SIZE
        ),
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        callbacks=[
            SampleGrid(
                samples,
                run_directory,
                every_epochs=6,
                columns=len(SAMPLE_PROMPTS),
                labels=SAMPLE_PROMPTS,
            )
        ],
        save=save,
    )


def optimizer(total_steps: int) -> keras.optimizers.Optimizer:
    """AdamW with two hundred steps of warm-up and a cosine down to a hundredth."""
    warmup_steps = min(202, total_steps // 2)
    schedule = keras.optimizers.schedules.CosineDecay(
        LEARNING_RATE / 100,
        decay_steps=total_steps - warmup_steps,
        alpha=0.01,
        warmup_target=LEARNING_RATE,
        warmup_steps=warmup_steps,
    )
    return keras.optimizers.AdamW(
        schedule, weight_decay=0.01, beta_2=0.98, clipnorm=1.0
    )


def build(vqgan: VQGANBackbone, captions: list[str]) -> DalleBartTextToImage:
    """The model with a vocabulary of `captions` and random weights."""
    tokenizer = DalleBartTokenizer(*train_vocabulary(captions, VOCABULARY_SIZE))
    backbone = DalleBartBackbone(
        vocabulary_size=tokenizer.vocabulary_size(),
        image_vocabulary_size=vqgan.codebook_size,
        num_encoder_layers=2,
        num_decoder_layers=3,
        num_heads=4,
        hidden_dim=256,
        encoder_intermediate_dim=512,
        decoder_intermediate_dim=512,
        max_text_length=MAX_TEXT_LENGTH,
        image_length=vqgan.grid_size**2,
    )
    return DalleBartTextToImage(
        backbone,
        DalleBartTextToImagePreprocessor(tokenizer, max_text_length=MAX_TEXT_LENGTH),
        vqgan=vqgan,
        blank_caption_rate=0.1,
        image_token_noise=0.5,
        # The best of a few pairs on some training captions and the validation split.
        generation_defaults={"guidance_scale": 1.5, "temperature": 0.3},
    )


def preprocessed(
    text_to_image: DalleBartTextToImage, captions: list[str], images: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Inputs and targets of the whole split as arrays."""
    dataset = tf.data.Dataset.from_tensor_slices(
        {"captions": captions, "images": images}
    ).batch(BATCH_SIZE)
    batches = list(dataset.map(text_to_image.preprocess_samples))
    return tf.nest.map_structure(lambda *rows: np.concatenate(rows), *batches)
