"""Runs a recipe: `model.fit` with progress, TensorBoard, samples and resuming."""

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_dalle.distribution.processes import is_first_process
from keras_dalle.trainer.checkpointing import RunCheckpoints
from keras_dalle.utils.atomic import replaced_directory, write_text
from keras_dalle.utils.files import read_json
from keras_dalle.utils.foreign_values import shortened
from keras_dalle.utils.full_disks import telling_of_full_disk
from keras_dalle.utils.weight_files import check_room, check_weight_files

AFTER_FULL_DISK = (
    "What was saved before is whole: free some space there, and give the same command "
    "again."
)


@dataclasses.dataclass
class TrainingRun:
    """What a recipe builds: a compiled model, its data and how long to train it.

    Attributes:
        model: a compiled and built `keras.Model`.
        training_data: the step to start from -> an endless `tf.data.Dataset`.
        validation_data: passed to `fit`, or `None`.
        epochs: number of epochs.
        steps_per_epoch: number of steps an epoch.
        callbacks: callbacks beside those of `train`, in each of several processes.
        save: writes the trained model's preset to a folder.
        in_one_place: makes a context in which a model on a mesh is an ordinary one, as
            `Placement.gathered`.
    """

    model: keras.Model
    training_data: Callable[[int], tf.data.Dataset]
    epochs: int
    steps_per_epoch: int
    save: Callable[[Path], None]
    validation_data: Any = None
    callbacks: list[keras.callbacks.Callback] = dataclasses.field(default_factory=list)
    in_one_place: Callable[[], AbstractContextManager] = nullcontext


def train(run: TrainingRun, directory: str | os.PathLike) -> Path:
    """Trains, or goes on with a run that was stopped, and saves the preset.

    The folder holds `checkpoints/`, `tensorboard/`, `samples/`, `history.csv` and, at
    the end, `preset/`. Called again on the same folder, it resumes after the last
    finished epoch, with the batches that an uninterrupted run would see.

    Of several processes, each calls it and the first one alone writes; for resuming,
    all must be able to read the folder.

    Args:
        run: what a recipe built.
        directory: the run's folder.

    Returns:
        The folder of the preset.

    Raises:
        ValueError: the folder holds a run of another plan or another model, or its
            files or those of the data are damaged.
        OSError: the disk is full, or the folder cannot be written.
    """
    with (
        telling_of_full_disk(directory, AFTER_FULL_DISK),
        _telling_of_damaged_data(),
    ):
        return _train(run, Path(directory))


def _train(run: TrainingRun, directory: Path) -> Path:
    if is_first_process():
        _check_plan(run, directory)
    # The optimizer's variables belong where the model's are.
    with run.model.distribute_strategy.scope():
        checkpoints = RunCheckpoints(
            run.model, directory / "checkpoints", in_one_place=run.in_one_place
        )
    first_epoch = checkpoints.restore()
    if first_epoch and is_first_process():
        print(f"Resuming after epoch {first_epoch} of {run.epochs}.")
    run.model.fit(
        run.training_data(first_epoch * run.steps_per_epoch),
        epochs=run.epochs,
        initial_epoch=first_epoch,
        steps_per_epoch=run.steps_per_epoch,
        validation_data=run.validation_data,
        shuffle=False,
        verbose=_verbosity(),
        callbacks=[*run.callbacks, checkpoints, *_logs(directory)],
    )
    with run.in_one_place():
        if is_first_process():
            _save_preset(run, directory / "preset")
    return directory / "preset"


def _verbosity() -> int:
    if not is_first_process():
        return 0
    return 1 if sys.stdout.isatty() else 2


def _logs(directory: Path) -> list[keras.callbacks.Callback]:
    if not is_first_process():
        return []
    return [
        keras.callbacks.TensorBoard(directory / "tensorboard"),
        keras.callbacks.CSVLogger(directory / "history.csv", append=True),
    ]


def _check_plan(run: TrainingRun, directory: Path) -> None:
    """Refuses to go on with a run whose epochs were of another length.

    The batches that come next are counted from there. More epochs are welcome.
    """
    plan = {"steps_per_epoch": run.steps_per_epoch}
    path = directory / "plan.json"
    if not path.exists():
        write_text(path, json.dumps(plan) + "\n")
        return
    try:
        found = read_json(path)
    except ValueError as error:
        raise ValueError(
            f"{path} must hold the run's plan. Received: {_content(path)}. If the run "
            f"was of this recipe, whose plan is {plan}, remove the file and start "
            "again. Otherwise choose a new run folder."
        ) from error
    if found != plan:
        raise ValueError(
            f"The run in {directory} must have this recipe's {plan}. Received: "
            f"{shortened(found)}. Choose a new run folder."
        )


def _content(path: Path) -> str:
    content = path.read_bytes()[:1000]
    return shortened(content) if content else "an empty file"


@contextmanager
def _telling_of_damaged_data() -> Iterator[None]:
    try:
        yield
    except tf.errors.DataLossError as error:
        raise ValueError(
            "The TFRecord shards of the training data must be whole. Received: a row "
            "that is truncated or damaged. Write or copy them again; what was trained "
            "before is saved, and the same command goes on."
        ) from error


def _save_preset(run: TrainingRun, preset: Path) -> None:
    with replaced_directory(preset) as partial:
        check_room(partial, run.model)
        run.save(partial)
        check_weight_files(partial)
