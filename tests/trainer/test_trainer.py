"""A run that is killed goes on as if it had not been."""

import multiprocessing
import os
import time

import keras
import numpy as np
import pytest

from keras_dalle.data.training_input import training_batches
from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone
from keras_dalle.models.vqgan.vqgan_trainer import RestartDeadCodes, VQGANTrainer
from keras_dalle.trainer.callbacks import SampleGrid
from keras_dalle.trainer.trainer import TrainingRun, train

STEPS_PER_EPOCH = 2
EPOCHS = 3


def small_run(directory, callbacks=()):
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (16, 16, 16, 3)).astype("uint8")
    backbone = VQGANBackbone(
        image_size=16,
        base_channels=32,
        channel_multipliers=(1,),
        num_res_blocks=1,
        attention_resolutions=(),
        latent_channels=32,
        embedding_dim=4,
        codebook_size=16,
        patch_size=4,
        dropout=0.1,
    )
    model = VQGANTrainer(backbone)
    model.compile(optimizer=keras.optimizers.AdamW(1e-3))
    return TrainingRun(
        model=model,
        training_data=lambda step: training_batches(images, 4, seed=3, first_step=step),
        epochs=EPOCHS,
        steps_per_epoch=STEPS_PER_EPOCH,
        callbacks=[
            RestartDeadCodes(images[:4], until_epoch=2),
            SampleGrid(lambda: images[:4], directory, every_epochs=1, columns=2),
            *callbacks,
        ],
        save=lambda path: backbone.save_to_preset(str(path)),
    )


class Stall(keras.callbacks.Callback):
    """Waits in the middle of the second epoch for the kill."""

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == STEPS_PER_EPOCH + 1:
            time.sleep(600)


def run_until_killed(directory):
    train(small_run(directory, [Stall()]), directory)


def weights_of(run):
    return [(variable.path, variable.numpy()) for variable in run.model.variables]


@pytest.mark.filterwarnings("ignore")
def test_resumes_after_a_kill_at_the_same_step_with_the_same_data(tmp_path):
    whole = small_run(tmp_path / "whole")
    train(whole, tmp_path / "whole")

    process = multiprocessing.get_context("spawn").Process(
        target=run_until_killed, args=(tmp_path / "killed",)
    )
    process.start()
    checkpoint = tmp_path / "killed" / "checkpoints" / "checkpoint"
    deadline = time.time() + 300
    while not checkpoint.exists():
        assert process.is_alive() and time.time() < deadline
        time.sleep(0.2)
    process.kill()
    process.join()

    resumed = small_run(tmp_path / "killed")
    preset = train(resumed, tmp_path / "killed")

    assert int(resumed.model.optimizer.iterations) == EPOCHS * STEPS_PER_EPOCH
    pairs = zip(weights_of(resumed), weights_of(whole), strict=True)
    for (path, value), (_, expected) in pairs:
        np.testing.assert_allclose(value, expected, atol=1e-6, err_msg=path)
    assert sorted(os.listdir(preset)) == [
        "config.json",
        "metadata.json",
        "model.weights.h5",
    ]
    assert (tmp_path / "killed" / "samples" / "epoch_0003.png").exists()


def test_checkpoint_of_another_model_is_refused(tmp_path):
    run = small_run(tmp_path)
    run.epochs = 1
    train(run, tmp_path)
    other = small_run(tmp_path)
    other.model.compile(optimizer=keras.optimizers.Adafactor())
    with pytest.raises(ValueError, match="must belong to this recipe's model"):
        train(other, tmp_path)


def test_a_run_with_epochs_of_another_length_is_refused(tmp_path):
    run = small_run(tmp_path)
    run.epochs = 1
    train(run, tmp_path)
    run.steps_per_epoch = 3
    with pytest.raises(ValueError, match=r"_epoch': 3.*Received: .*_epoch': 2"):
        train(run, tmp_path)


def test_batches_are_a_function_of_the_step():
    rows = np.arange(10)
    first = list(training_batches(rows, 3, seed=1).take(7).as_numpy_iterator())
    later = training_batches(rows, 3, seed=1, first_step=4).take(3)
    np.testing.assert_array_equal(first[4:], list(later.as_numpy_iterator()))
    passes = [np.concatenate(first[:3]), np.concatenate(first[3:6])]
    for one_pass in passes:
        assert len(set(one_pass)) == 9
    assert list(passes[0]) != list(passes[1])


def test_batch_larger_than_the_data():
    with pytest.raises(ValueError, match=r"`batch_size` \(=11\) must not exceed"):
        training_batches(np.arange(10), 11, seed=0)
