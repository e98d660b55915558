"""Saves a training run at the end of epochs and resumes it there."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_dalle.distribution.processes import check_agreement, is_first_process
from keras_dalle.utils.foreign_values import shortened

# The file that names the newest checkpoint.
INDEX = "checkpoint"


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


class CheckedManager(tf.train.CheckpointManager):
    """A `CheckpointManager` that never takes a damaged folder for an empty one.

    Args:
        checkpoint: see `CheckpointManager`.
        directory: the folder of the checkpoints.
        **options: see `CheckpointManager`.

    Raises:
        ValueError: the folder has checkpoints, or the file `checkpoint`, and that file
            does not name the newest checkpoint.
    """

    def __init__(
        self, checkpoint: tf.train.Checkpoint, directory: Path, **options: Any
    ):
        try:
            super().__init__(checkpoint, os.fspath(directory), **options)
        except ValueError:
            _check_nothing_is_lost(directory)
            raise
        if self.latest_checkpoint is None:
            _check_nothing_is_lost(directory)

    def save(self, checkpoint_number: int | None = None, **options: Any) -> str | None:
        """Saves, as `CheckpointManager` does.

        If a full disk leaves the first checkpoint without a name, it is removed. A
        later run would take it for one whose name was lost.
        """
        try:
            return super().save(checkpoint_number, **options)
        except Exception:
            if not Path(self.directory, INDEX).exists():
                for path in Path(self.directory).glob(f"ckpt-{checkpoint_number}.*"):
                    path.unlink(missing_ok=True)
            raise

    def restore_or_initialize(self) -> str | None:
        """Restores the newest checkpoint, if there is one, and returns its path.

        Raises:
            ValueError: it is damaged, or of another model or optimizer.
        """
        with _telling_of_damage(self.latest_checkpoint):
            return super().restore_or_initialize()

    def restore(self) -> None:
        """Restores all of the newest checkpoint, which must exist.

        Raises:
            ValueError: see `restore_or_initialize`.
        """
        with _telling_of_damage(self.latest_checkpoint):
            status = self.checkpoint.restore(self.latest_checkpoint)
            status.expect_partial().assert_consumed()

    def remove_unfinished(self) -> None:
        """Removes the files of saves that were killed or found a full disk."""
        folder = Path(self.directory)
        for path in folder.glob("ckpt-*_temp"):
            shutil.rmtree(path, ignore_errors=True)
        for path in folder.glob(f"{INDEX}.tmp*"):
            path.unlink(missing_ok=True)


def _check_nothing_is_lost(directory: Path) -> None:
    index = Path(directory, INDEX)
    whole = [path for path in Path(directory).glob("ckpt-*.index") if _is_whole(path)]
    if not whole and not index.exists():
        return
    found = "a file without it" if index.exists() else "no such file"
    remedy = "Copy the folder again"
    if whole:
        newest = max(whole, key=lambda path: path.stat().st_mtime).stem
        remedy = f"To go on from {newest}, write that line with its name"
    raise ValueError(
        f"The file {INDEX} in {directory} must name the newest checkpoint, by a line "
        f'model_checkpoint_path: "ckpt-…". Received: {found}. {remedy}. To start anew, '
        "choose a new run folder."
    )


def _is_whole(index: Path) -> bool:
    """Tells if a save has written its last file; without it there is no checkpoint."""
    try:
        tf.train.list_variables(os.fspath(index.with_suffix("")))
    except tf.errors.OpError:
        return False
    return True


@contextmanager
def _telling_of_damage(newest: str | None) -> Iterator[None]:
    try:
        yield
    except (AssertionError, ValueError, tf.errors.InvalidArgumentError) as error:
        raise ValueError(
            f"The checkpoint {newest!r} must belong to this recipe's model and "
            "optimizer. Resume with the recipe that wrote it, or choose a new "
            f"run folder. ({shortened(str(error))})"
        ) from error
    # TensorFlow raises an IndexError for a file that is too short.
    except (tf.errors.OpError, IndexError) as error:
        raise ValueError(
            f"The files of the checkpoint {newest} are missing, truncated or damaged. "
            "Copy them again, or choose a new run folder to start anew. "
            f"({shortened(str(error))})"
        ) from error


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

    Raises:
        ValueError: see `CheckedManager`.
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
        self.manager = CheckedManager(checkpoint, Path(directory), max_to_keep=1)

    def restore(self) -> int:
        """Restores the newest checkpoint.

        Returns:
            The number of epochs that were finished, 0 without a checkpoint.

        Raises:
            ValueError: the checkpoint is damaged, or belongs to another model or
                optimizer, or not every process finds it.
        """
        newest = self.manager.latest_checkpoint
        check_agreement(
            "Every process must find the same newest checkpoint: put the run's folder "
            "where all can read it.",
            newest and os.path.basename(newest),
        )
        if is_first_process():
            self.manager.remove_unfinished()
        if newest is None:
            return 0
        with self.in_one_place():
            self.manager.restore()
        return int(self.epoch)

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every_epochs == 0:
            self.epoch.assign(epoch + 1)
            with self.in_one_place():
                if is_first_process():
                    self.manager.save(checkpoint_number=epoch + 1)
