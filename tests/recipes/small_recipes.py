"""The recipes of DALL·E mini's family, scaled down in width, and data for them."""

from pathlib import Path

import numpy as np

from keras_dalle.data.token_records import write_token_records
from keras_dalle.models import DalleBartTextToImagePreprocessor, DalleBartTokenizer
from keras_dalle.optimizers.distributed_shampoo import DistributedShampoo
from keras_dalle.text.vocabulary import train_vocabulary
from tests.tiny_preset import tiny_task

IMAGE_LENGTH = 4
CODES = 16


def write_data(directory: Path) -> Path:
    """Two shards of eight captions with image tokens."""
    rng = np.random.default_rng(0)
    for shard in range(2):
        write_token_records(
            directory / f"train-{shard}.tfrecord",
            [f"caption {shard} {row}" for row in range(8)],
            rng.integers(0, CODES, (8, IMAGE_LENGTH)),
        )
    return directory


def write_tokenizer(directory: Path) -> str:
    """A preset with the smallest vocabulary: Shampoo's matrices are as large as it."""
    tokenizer = DalleBartTokenizer(*train_vocabulary(["caption"], 270))
    task = tiny_task()
    task.preprocessor = DalleBartTextToImagePreprocessor(tokenizer)
    task.save_to_preset(str(directory))
    return str(directory)


def scaled_down(recipe, tokenizer, heads=2, width=8):
    """A variant for two cores: one narrow layer a side, and one device."""
    recipe.backbone.update(
        image_vocabulary_size=CODES,
        decoder_start_token_id=CODES,
        num_encoder_layers=1,
        num_decoder_layers=1,
        num_heads=heads,
        hidden_dim=width,
        encoder_intermediate_dim=width,
        decoder_intermediate_dim=width,
        max_text_length=8,
        image_length=IMAGE_LENGTH,
    )
    recipe.optimizer = _narrow(recipe.optimizer)
    recipe.tokenizer, recipe.vqgan = tokenizer, None
    recipe.strategy, recipe.mesh, recipe.steps_per_execution = "default", None, 1
    recipe.batch_size_per_replica = 4
    recipe.epochs, recipe.steps_per_epoch = 1, 6
    return recipe


def _narrow(make_optimizer):
    """The optimizer for kernels of a few rows; embeddings stay unpreconditioned."""

    def make():
        config = make_optimizer().get_config()
        config.update(merged_dim=None, block_size=16, max_preconditioned_dim=16)
        return DistributedShampoo.from_config(config)

    return make
