"""DALL·E mini, as far as its training is published; not run by this project.

Published: the model; 15 million captioned pictures (CC3M, CC12M, 2 million of YFCC) and
three days on one TPU v3-8; and, from a maintainer's command for a v3-8, bfloat16, 34
pictures a device and 3 accumulated steps, Distributed Shampoo with blocks of 1024 and
β2 0.99, a warm-up to 1e-4 over 2,000 updates, captions blanked at 0.1.

Not published: the decay of the learning rate (here there is none), the number of
updates (18 passes over the pictures are our guess), losses.

keras-dalle train --recipe mini --data-dir DATA

DATA holds `train-*.tfrecord` with captions and the tokens of the f16 VQGAN; see
`keras_dalle.data.token_records`.
"""

from pathlib import Path

from keras_dalle.optimizers.distributed_shampoo import DistributedShampoo
from keras_dalle.optimizers.schedules import WarmUp
from keras_dalle.recipes.dalle_bart_recipe import DalleBartRecipe
from keras_dalle.trainer.trainer import TrainingRun


def mini_recipe() -> DalleBartRecipe:
    """The fields of the run, to be changed for a variant."""
    return DalleBartRecipe(
        backbone={
            "image_vocabulary_size": 16384,
            "num_encoder_layers": 12,
            "num_decoder_layers": 12,
            "num_heads": 16,
            "hidden_dim": 1024,
            "encoder_intermediate_dim": 2730,
            "decoder_intermediate_dim": 2730,
            "max_text_length": 64,
            "image_length": 256,
            "init_std": 0.02,
        },
        optimizer=lambda: DistributedShampoo(
            WarmUp(1e-4, warmup_steps=3 * 2000),  # batches
            beta2=0.99,
            block_size=1024,
            gradient_accumulation_steps=3,
        ),
        tokenizer="dalle_mini",
        vqgan="vqgan_imagenet_f16_16384",
        batch_size_per_replica=34,
        epochs=18,
        steps_per_epoch=15_000_000 // (34 * 8),
        dtype="mixed_bfloat16",
        blank_caption_rate=0.1,
        strategy="tpu",
        steps_per_execution=100,
    )


def mini(run_directory: Path, data_directory: Path) -> TrainingRun:
    """The run of `mini_recipe`."""
    return mini_recipe().training_run(data_directory)
