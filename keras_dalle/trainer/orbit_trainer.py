"""Training under Orbit, the loop of tf-models-official, by the train step of `fit`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_dalle.distribution.private_api import build_metrics
from keras_dalle.trainer.checkpointing import CheckedManager, training_state
from keras_dalle.trainer.trainer import TrainingRun

try:
    import orbit
except ImportError as error:
    raise ImportError(
        "`keras_dalle.trainer.orbit_trainer` must have Orbit. Install the extra: "
        "pip install 'keras-dalle[orbit]'"
    ) from error


class OrbitTrainer(orbit.AbstractTrainer):
    """Orbit's view of a compiled model: the same steps as `fit` on the same batches.

    Args:
        model: a compiled and built `keras.Model`, on the devices of its strategy.
        training_data: the step to start from -> an endless `tf.data.Dataset`, as of a
            `TrainingRun`.

    Attributes:
        step: int64 variable, the number of batches that were trained on.
    """

    def __init__(
        self, model: keras.Model, training_data: Callable[[int], tf.data.Dataset]
    ):
        self._model = model
        self._training_data = training_data
        self._batches: Any = None
        with model.distribute_strategy.scope():
            self.step = orbit.utils.create_global_step()
            # Before a checkpoint is restored to its variables.
            model.optimizer.build(model.trainable_variables)

    def train(self, num_steps: int) -> dict[str, tf.Tensor]:
        """Trains on the next batches.

        Returns:
            Loss and metrics over these batches.

        Raises:
            ValueError: they are no multiple of the model's `steps_per_execution`.
        """
        model, num_steps = self._model, int(num_steps)
        if num_steps % model.steps_per_execution:
            raise ValueError(
                f"Orbit's steps a loop (={num_steps}) must be divisible by the model's "
                f"`steps_per_execution` (={model.steps_per_execution})."
            )
        if self._batches is None:
            self._start()
        model.reset_metrics()
        logs: dict[str, tf.Tensor] = {}
        for _ in range(num_steps // model.steps_per_execution):
            logs = model.train_function(self._batches)
        self.step.assign_add(num_steps)
        if model.distribute_strategy.num_replicas_in_sync > 1:
            # The step's own logs are those of one replica.
            return model.get_metrics_result()
        return logs

    def _start(self):
        """Does what `fit` does before its first step."""
        model = self._model
        dataset = self._training_data(int(self.step.numpy()))
        if hasattr(model, "preprocess_samples"):
            dataset = dataset.map(
                model.preprocess_samples, num_parallel_calls=tf.data.AUTOTUNE
            ).prefetch(tf.data.AUTOTUNE)
        strategy = model.distribute_strategy
        with strategy.scope():
            build_metrics(model, next(iter(dataset)))
            self._batches = iter(strategy.experimental_distribute_dataset(dataset))
        model.make_train_function()


class _CheckpointsInOnePlace(CheckedManager):
    """Writes and reads while a model on a mesh is an ordinary one."""

    def __init__(self, in_one_place, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._in_one_place = in_one_place

    def save(self, *args, **kwargs):
        with self._in_one_place():
            return super().save(*args, **kwargs)

    def restore_or_initialize(self):
        with self._in_one_place():
            return super().restore_or_initialize()


def make_controller(run: TrainingRun, directory: str | os.PathLike) -> orbit.Controller:
    """Puts a run under an `orbit.Controller` with a `tf.train.CheckpointManager`.

    The Controller writes a checkpoint and a line of metrics after each epoch of the
    run; an epoch is one of its loops. A folder with checkpoints is gone on with, at the
    batches that an uninterrupted run would see.

    Args:
        run: what a recipe built. Its callbacks, validation data and preset remain with
            the caller.
        directory: the run's folder, for `orbit_checkpoints/` and `tensorboard/`.

    Returns:
        The Controller; `train(steps=...)` trains until that many batches.

    Example:
    ```python
    controller = make_controller(run, "runs/mine")
    controller.train(steps=run.epochs * run.steps_per_epoch)
    run.save(Path("runs/mine/preset"))
    ```
    """
    trainer = OrbitTrainer(run.model, run.training_data)
    with run.in_one_place():
        checkpoint = training_state(run.model, step=trainer.step)
    manager = _CheckpointsInOnePlace(
        run.in_one_place,
        checkpoint,
        Path(directory) / "orbit_checkpoints",
        max_to_keep=1,
        step_counter=trainer.step,
        checkpoint_interval=run.steps_per_epoch,
    )
    return orbit.Controller(
        global_step=trainer.step,
        trainer=trainer,
        strategy=run.model.distribute_strategy,
        steps_per_loop=run.steps_per_epoch,
        checkpoint_manager=manager,
        summary_dir=os.fspath(Path(directory) / "tensorboard"),
    )
