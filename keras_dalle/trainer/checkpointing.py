"""Saves a training run at the end of epochs and resumes it there."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import keras
import tensorflow as tf

from keras_dalle.distribution.processes import check_agreement, is_first_process


def training_state(model: keras.Model, **counters: tf.Variable) -> tf.train.Checkpoint:
    """All that training changes, as a checkpoint.

    Args:
        model: a compiled `keras.Model` whose optimizer is built.
        **counters: variables that say how far the training is.
    """
    # By position: the names of optimizers and seeds count up within a process.
    return tf.train.Checkpoint(
        model=[variable.value for variable in model.variables],
        optimizer=[variable.value for variable in model.optimizer.variables],
        **counters,
    )


class RunCheckpoints(keras.callbacks.Callback):
    """Keeps the newest checkpoint of model, optimizer and epoch in a folder.

    Each file is complete before the folder names it as the newest, so a kill at any
    moment leaves the one before. Of several processes the first one writes, and all
    read.

    Args:
        model: a compiled and built `keras.Model`.
        directory: where to write.
        every_epochs: int. Epochs between two checkpoints.
        in_one_place: makes a context in which a model on a mesh is an ordinary one.
    """

    def __init__(
        self,
        model: keras.Model,
        directory: str | os.PathLike,
        every_epochs: int = 1,
        in_one_place: Callable[[], AbstractContextManager] = nullcontext,
    ):
        super().__init__()
        model.optimizer.build(model.trainable_variables)
        self.every_epochs = every_epochs
        self.in_one_place = in_one_place
        self.epoch = tf.Variable(0, dtype=tf.int64)
        with in_one_place():
            checkpoint = training_state(model, epoch=self.epoch)
        self.manager = tf.train.CheckpointManager(
            checkpoint, os.fspath(directory), max_to_keep=1
        )

    def restore(self) -> int:
        """Restores the newest checkpoint.

        Returns:
            The number of epochs that were finished, 0 without a checkpoint.

        Raises:
            ValueError: the checkpoint belongs to another model or optimizer, or not
                every process finds it.
        """
        newest = self.manager.latest_checkpoint
        check_agreement(
            "Every process must find the same newest checkpoint: put the run's folder "
            "where all can read it.",
            newest and os.path.basename(newest),
        )
        if newest is None:
            return 0
        try:
            with self.in_one_place():
                status = self.manager.checkpoint.restore(newest)
                status.expect_partial().assert_consumed()
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            raise ValueError(
                f"The checkpoint {newest!r} must belong to this recipe's model and "
                "optimizer. Resume with the recipe that wrote it, or choose a new "
                f"run folder. ({str(error).splitlines()[0]})"
            ) from error
        return int(self.epoch)

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every_epochs == 0:
            self.epoch.assign(epoch + 1)
            with self.in_one_place():
                if is_first_process():
                    self.manager.save(checkpoint_number=epoch + 1)
