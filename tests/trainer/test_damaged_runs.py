"""A run's folder that was damaged is refused by name, and never begun from 0."""

import errno
import os
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.data.training_input import training_batches
from keras_dalle.trainer.trainer import TrainingRun, train
from tests.limits import file_limit

DATA, TABLE = "ckpt-2.data-00000-of-00001", "ckpt-2.index"


def small_run(epochs=2):
    """Returns a run with one layer; its preset is one file of weights."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input([8]), keras.layers.Dense(4)])
    model.compile(optimizer="adam", loss="mse")
    rows = np.ones([8, 8], "float32"), np.ones([8, 4], "float32")
    return TrainingRun(
        model=model,
        training_data=lambda step: training_batches(rows, 4, seed=0, first_step=step),
        epochs=epochs,
        steps_per_epoch=2,
        save=lambda folder: model.save_weights(folder / "model.weights.h5"),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "run"
    train(small_run(), directory)
    return directory


@pytest.fixture
def directory(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def truncate(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def refused(directory):
    with pytest.raises(ValueError) as caught:
        train(small_run(3), directory)
    return str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"model_che", b"\xff\x00", b"x: 1\n"])
def test_without_an_index_nothing_begins_anew(directory, content, capsys):
    index = directory / "checkpoints" / "checkpoint"
    index.unlink()
    if content is not None:
        index.write_bytes(content)
    message = refused(directory)
    assert f"The file checkpoint in {directory}/checkpoints must name" in message
    assert "To go on from ckpt-2, write that line with its name." in message
    index.write_text('model_checkpoint_path: "ckpt-2"\n')
    train(small_run(3), directory)
    assert "Resuming after epoch 2 of 3." in capsys.readouterr().out


@pytest.mark.parametrize("name", [DATA, TABLE])
@pytest.mark.parametrize("share", [0, 0.5, 0.95, None])
def test_a_truncated_checkpoint_is_named(directory, name, share):
    path = directory / "checkpoints" / name
    if share is None:
        path.unlink()
    else:
        truncate(path, share)
    message = refused(directory)
    assert message.startswith(
        f"The files of the checkpoint {directory}/checkpoints/ckpt-2 are missing, trunc"
    )
    assert "choose a new run folder to start anew" in message


def test_what_a_killed_first_save_left_is_no_checkpoint(directory):
    folder = directory / "checkpoints"
    (folder / "checkpoint").unlink()
    truncate(folder / TABLE, 0.5)
    (folder / "ckpt-2_temp").mkdir()
    (folder / "ckpt-2_temp" / "part-00000-of-00001.tempstate1").touch()
    (folder / "checkpoint.tmp0a1b").touch()
    train(small_run(1), directory)
    names = os.listdir(folder)
    assert "checkpoint" in names and "ckpt-1.index" in names
    assert not [name for name in names if "tmp" in name or "temp" in name]


def test_a_full_disk_at_the_first_checkpoint_s_name(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        # A moment that no limit on files meets: the name is shorter than what it names.
        patch.setattr(tf.train.CheckpointManager, "_record_state", full)
        with pytest.raises(OSError, match="No space left on device. What was saved be"):
            train(small_run(), tmp_path)
    assert os.listdir(tmp_path / "checkpoints") == []
    train(small_run(), tmp_path)


@pytest.mark.parametrize("content", ["", "{", '{"steps_per', "\0\0"])
def test_an_empty_plan_is_named(directory, content, capsys):
    plan = directory / "plan.json"
    plan.write_text(content)
    message = refused(directory)
    assert message.startswith(f"{plan} must hold the run's plan. Received: ")
    assert ("an empty file" in message) == (not content)
    assert "{'steps_per_epoch': 2}, remove the file and start again" in message
    plan.unlink()
    train(small_run(3), directory)
    assert "Resuming after epoch 2" in capsys.readouterr().out


def test_a_plan_of_another_kind_is_shown(directory):
    (directory / "plan.json").write_text("[3]")
    assert "Received: [3]. Choose a new run folder." in refused(directory)


@pytest.mark.parametrize("limit", [10, 700, 3000])
def test_a_full_disk_is_named_and_nothing_is_lost(directory, limit, capsys):
    """The disk is full at the plan, at a checkpoint, at the preset or at the logs."""
    before = (directory / "preset" / "model.weights.h5").read_bytes()
    folder = directory / "checkpoints"
    with file_limit(limit), pytest.raises(OSError) as caught:
        train(small_run(3), directory)
    assert str(caught.value) == (
        f"There is no room to write {directory}: File too large. What was saved before "
        "is whole: free some space there, and give the same command again."
    )
    assert (directory / "preset" / "model.weights.h5").read_bytes() == before
    train(small_run(3), directory)
    assert "Resuming after epoch" in capsys.readouterr().out
    names = ["checkpoint", "ckpt-3.data-00000-of-00001", "ckpt-3.index"]
    assert sorted(os.listdir(folder)) == names
    assert not [name for name in os.listdir(directory) if name.startswith(".")]
