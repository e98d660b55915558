"""What recipes of DALL·E mini's family have in common: fields, and how they train.

A recipe is a function that returns a `DalleBartRecipe`; a variant changes fields of
what another one returns.
"""

import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras

from keras_dalle.data.token_records import token_batches
from keras_dalle.distribution.dtensor import distribute
from keras_dalle.distribution.process_rows import local_batches
from keras_dalle.distribution.strategies import check_static_shapes, make_strategy
from keras_dalle.models.dalle_bart.dalle_bart_backbone import DalleBartBackbone
from keras_dalle.models.dalle_bart.dalle_bart_text_to_image import DalleBartTextToImage
from keras_dalle.models.dalle_bart.dalle_bart_text_to_image_preprocessor import (
    DalleBartTextToImagePreprocessor,
)
from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone
from keras_dalle.trainer.fine_tuning import FineTuning
from keras_dalle.trainer.gradient_checkpointing import checkpoint_gradients
from keras_dalle.trainer.trainer import TrainingRun


@dataclasses.dataclass
class DalleBartRecipe:
    """A training run on captions with image tokens.

    Attributes:
        backbone: arguments of `DalleBartBackbone` without `vocabulary_size`.
        optimizer: makes the optimizer, with its schedule and gradient accumulation.
        tokenizer: preset or folder of an original whose tokenizer is taken.
        vqgan: preset of the VQGAN that made the image tokens; `None` for a model
            that cannot draw.
        batch_size_per_replica: examples of a step on each replica.
        epochs: number of epochs.
        steps_per_epoch: steps an epoch, counting those that only accumulate.
        dtype: dtype policy of the backbone.
        blank_caption_rate: share of captions that are blanked.
        strategy: one of `keras_dalle.distribution.strategies.STRATEGIES`.
        mesh: devices along `batch` and along `model` of a DTensor mesh, in place of a
            strategy, which is then "default"; a replica is a row of its devices.
        pad_to_multiple_of: of `distribute`, for weights that the mesh does not divide.
        checkpointed_layers: whether each encoder and decoder layer is computed again
            for its gradients, see `checkpoint_gradients`.
        steps_per_execution: steps a call of the device; more than 1 pays on a TPU.
        preset: preset to go on from, in place of `backbone`, `tokenizer`, `vqgan` and
            `blank_caption_rate`.
        fine_tuning: which weights are trained.
        seed: of weights and order.
    """

    backbone: dict[str, Any]
    optimizer: Callable[[], keras.optimizers.Optimizer]
    tokenizer: str
    vqgan: str | None
    batch_size_per_replica: int
    epochs: int
    steps_per_epoch: int
    dtype: str = "float32"
    blank_caption_rate: float = 0.0
    strategy: str = "default"
    mesh: dict[str, int] | None = None
    pad_to_multiple_of: int | None = None
    checkpointed_layers: bool = False
    steps_per_execution: int = 1
    preset: str | None = None
    fine_tuning: FineTuning = FineTuning()
    seed: int = 0

    def training_run(self, data_directory: Path) -> TrainingRun:
        """Builds and compiles the model on the strategy's devices.

        Args:
            data_directory: TFRecord shards, as of `token_batches`.

        Raises:
            ValueError: the strategy cannot accumulate gradients, or there is a mesh
                beside it, or padding without one.
        """
        self._check_mesh()
        keras.utils.set_random_seed(self.seed)
        strategy = make_strategy(self.strategy)
        replicas = strategy.num_replicas_in_sync
        with strategy.scope():
            task = self.build()
            self.fine_tuning.apply(task)
            if self.checkpointed_layers:
                checkpoint_gradients(task)
            optimizer = self.optimizer()
            self._check_accumulation(optimizer)
            task.compile(
                optimizer=optimizer,
                steps_per_execution=self.steps_per_execution,
                jit_compile=False if self.mesh else "auto",
            )
        placement = None
        if self.mesh:
            placement = distribute(
                task, self.mesh, pad_to_multiple_of=self.pad_to_multiple_of
            )
            replicas = self.mesh["batch"]

        def training_data(step):
            batches = token_batches(
                data_directory,
                task.backbone.image_length,
                self.batch_size_per_replica * replicas,
                seed=self.seed,
                first_step=step,
            )
            check_static_shapes(batches.map(task.preprocess_samples))
            return local_batches(batches, placement.mesh) if placement else batches

        return TrainingRun(
            model=task,
            training_data=training_data,
            epochs=self.epochs,
            steps_per_epoch=self.steps_per_epoch,
            save=lambda directory: task.save_to_preset(str(directory)),
            in_one_place=placement.gathered if placement else nullcontext,
        )

    def _check_mesh(self) -> None:
        if self.mesh and self.strategy != "default":
            raise ValueError(
                f"`strategy` (={self.strategy!r}) must be 'default' with a `mesh` "
                f"(={self.mesh}), whose devices are all there are. Set one of them."
            )
        if self.pad_to_multiple_of is not None and not self.mesh:
            raise ValueError(
                "`pad_to_multiple_of` goes with a `mesh`. Received: "
                f"{self.pad_to_multiple_of} without one. Set `mesh`, or leave it out."
            )

    def build(self) -> DalleBartTextToImage:
        """The model, with random weights or those of `preset`."""
        if self.preset is not None:
            return DalleBartTextToImage.from_preset(self.preset, dtype=self.dtype)
        tokenizer = DalleBartTextToImagePreprocessor.from_preset(
            self.tokenizer
        ).tokenizer
        backbone = DalleBartBackbone(
            vocabulary_size=tokenizer.vocabulary_size(),
            dtype=self.dtype,
            **self.backbone,
        )
        preprocessor = DalleBartTextToImagePreprocessor(
            tokenizer, max_text_length=backbone.max_text_length
        )
        return DalleBartTextToImage(
            backbone,
            preprocessor,
            vqgan=self.vqgan and VQGANBackbone.from_preset(self.vqgan),
            blank_caption_rate=self.blank_caption_rate,
        )

    def _check_accumulation(self, optimizer):
        steps = optimizer.gradient_accumulation_steps
        if self.strategy == "mirrored" and steps:
            raise ValueError(
                f"`gradient_accumulation_steps` (={steps}) must be None with the "
                "strategy `mirrored`, in whose sum over replicas Keras cannot "
                "accumulate. Raise `batch_size_per_replica` instead."
            )
