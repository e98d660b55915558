"""Saves a training run at the end of epochs and resumes it there."""

import os

import keras
import tensorflow as tf


class RunCheckpoints(keras.callbacks.Callback):
    """Keeps the newest checkpoint of model, optimizer and epoch in a folder.

    Each file is complete before the folder names it as the newest, so a kill at any
    moment leaves the one before.

    Args:
        model: a compiled and built `keras.Model`.
        directory: where to write.
        every_epochs: int. Epochs between two checkpoints.
    """

    def __init__(
        self, model: keras.Model, directory: str | os.PathLike, every_epochs: int = 1
    ):
        super().__init__()
        model.optimizer.build(model.trainable_variables)
        self.every_epochs = every_epochs
        self.epoch = tf.Variable(0, dtype=tf.int64)
        # By position: the names of optimizers and seeds count up within a process.
        checkpoint = tf.train.Checkpoint(
            epoch=self.epoch,
            model=[variable.value for variable in model.variables],
            optimizer=[variable.value for variable in model.optimizer.variables],
        )
        self.manager = tf.train.CheckpointManager(
            checkpoint, os.fspath(directory), max_to_keep=1
        )

    def restore(self) -> int:
        """Restores the newest checkpoint.

        Returns:
            The number of epochs that were finished, 0 without a checkpoint.

        Raises:
            ValueError: the checkpoint belongs to another model or optimizer.
        """
        newest = self.manager.latest_checkpoint
        if newest is None:
            return 0
        try:
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
            self.manager.save(checkpoint_number=epoch + 1)
