"""DALL·E Mega, as far as its training is published; not run by this project.

Published: the model; a TPU v3-256 as 8 devices along the model × 32 along the batch;
44 pictures × 32 × 3 accumulated steps an update, more of them later; Distributed
Shampoo with blocks of 2048, β1 0.9, β2 0.99, roots every 10 updates and none for
embeddings; a warm-up to 1e-4 over 10,000 updates; no dropout, weight decay or clipping;
layers that are computed again for their gradients; full precision from 800 million
samples on.

Not published: the steps at which the batch grew, at which the rate, constant until a
plateau, was lowered by hand and, from 1.8 billion samples on, decayed exponentially;
the share of blanked captions (here mini's); losses. So here batch and rate are
constant, precision is full from the start, and the end is at 1.8 billion samples, the
least that is known. To lower the rate by hand, stop the run and give `optimizer`
another schedule.

keras-dalle train --recipe mega --data-dir DATA
"""

from pathlib import Path

from keras_dalle.optimizers.distributed_shampoo import DistributedShampoo
from keras_dalle.optimizers.schedules import WarmUp
from keras_dalle.recipes.dalle_bart_recipe import DalleBartRecipe
from keras_dalle.recipes.mini import mini_recipe
from keras_dalle.trainer.trainer import TrainingRun


def mega_recipe() -> DalleBartRecipe:
    """The fields of the run: mini's, changed."""
    recipe = mini_recipe()
    recipe.backbone.update(
        image_vocabulary_size=16415,
        num_encoder_layers=24,
        num_decoder_layers=24,
        num_heads=32,
        hidden_dim=2048,
        encoder_intermediate_dim=4096,
        decoder_intermediate_dim=4096,
        init_std=0.01,
        decoder_start_token_id=16384,
    )
    recipe.optimizer = lambda: DistributedShampoo(
        WarmUp(1e-4, warmup_steps=3 * 10_000),  # batches
        beta2=0.99,
        block_size=2048,
        # The original's scanned layers.
        groups=("encoder_layer_", "decoder_layer_"),
        gradient_accumulation_steps=3,
    )
    recipe.tokenizer = "dalle_mega"
    recipe.batch_size_per_replica = 44
    recipe.steps_per_epoch = 3 * 1000
    recipe.epochs = 1_800_000_000 // (44 * 32 * recipe.steps_per_epoch)
    recipe.dtype = "float32"
    recipe.strategy, recipe.steps_per_execution = "default", 1
    recipe.checkpointed_layers = True
    recipe.mesh = {"batch": 32, "model": 8}
    return recipe


def mega(run_directory: Path, data_directory: Path) -> TrainingRun:
    """The run of `mega_recipe`."""
    return mega_recipe().training_run(data_directory)
