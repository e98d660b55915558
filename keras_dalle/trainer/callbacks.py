"""Callbacks that show what a model draws while it trains."""

import os
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_dalle.utils.images import image_grid
from keras_dalle.utils.picture_files import save_picture


class SampleGrid(keras.callbacks.Callback):
    """Writes a grid of pictures after every few epochs.

    As `samples/epoch_0010.png` in the run's folder, and for TensorBoard.

    Args:
        draw: called without arguments; returns uint8 pictures [N, H, W, 3].
        directory: the run's folder.
        every_epochs: int. Epochs between two grids.
        columns: int. Pictures a row.
        labels: one text a picture, or `None`.
    """

    def __init__(
        self,
        draw: Callable[[], np.ndarray],
        directory: str | os.PathLike,
        every_epochs: int,
        columns: int,
        labels: list[str] | None = None,
    ):
        super().__init__()
        self.draw = draw
        self.directory = Path(directory)
        self.every_epochs = every_epochs
        self.columns = columns
        self.labels = labels

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every_epochs:
            return
        grid = image_grid(self.draw(), columns=self.columns, labels=self.labels)
        samples = self.directory / "samples"
        samples.mkdir(parents=True, exist_ok=True)
        save_picture(grid, samples / f"epoch_{epoch + 1:04d}.png")
        writer = tf.summary.create_file_writer(
            os.fspath(self.directory / "tensorboard" / "samples")
        )
        with writer.as_default():
            tf.summary.image("samples", np.asarray(grid)[None], step=epoch + 1)
        writer.close()
