"""Shards of captions with image tokens: what is damaged is named."""

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.data.token_records import token_batches, write_token_records
from keras_dalle.trainer.trainer import train
from tests.limits import file_limit
from tests.trainer.test_damaged_runs import small_run

LENGTH = 5


@pytest.fixture
def directory(tmp_path):
    tokens = np.arange(40).reshape(8, LENGTH)
    for number in range(3):
        path = tmp_path / f"train-{number}.tfrecord"
        write_token_records(path, [f"caption {i}" for i in range(8)], tokens)
    return tmp_path


@pytest.mark.parametrize(
    "damage, fault",
    [
        (lambda content: b"", "an empty file"),
        (lambda content: content[:20], "a truncated or damaged row"),
        (lambda content: b"x" * 100, "a truncated or damaged row"),
    ],
)
def test_shards_are_looked_at_before_a_run(directory, damage, fault):
    shard = directory / "train-1.tfrecord"
    shard.write_bytes(damage(shard.read_bytes()))
    with pytest.raises(
        ValueError, match=f"Received: {fault}.* in {shard}. Write it ag"
    ):
        token_batches(directory, LENGTH, 2, seed=0)


def test_tokens_of_another_model_are_refused(directory):
    with pytest.raises(
        ValueError, match="each with 7 image tokens. Received: a row of another kind in"
    ):
        token_batches(directory, 7, 2, seed=0)


def test_a_row_that_is_damaged_later_ends_a_run_with_a_message(directory, tmp_path):
    shard = directory / "train-0.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-7])
    run = small_run()

    def examples(rows):
        tokens = tf.cast(rows["image_tokens"], tf.float32)
        return tf.pad(tokens, [[0, 0], [0, 3]]), tokens[:, :4]

    run.training_data = lambda step: token_batches(directory, LENGTH, 4, seed=0).map(
        examples
    )
    with pytest.raises(
        ValueError, match="TFRecord shards of the training data must be"
    ):
        train(run, tmp_path / "run")


def test_a_shard_appears_whole(directory):
    before = (directory / "train-0.tfrecord").read_bytes()
    with file_limit(100), pytest.raises(OSError, match="no room to write .*train-0"):
        write_token_records(
            directory / "train-0.tfrecord", ["x"] * 50, np.ones([50, LENGTH], int)
        )
    assert (directory / "train-0.tfrecord").read_bytes() == before
    assert len(list(directory.iterdir())) == 3
