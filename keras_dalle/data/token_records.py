"""Captions with image tokens in TFRecord shards, which large runs train on.

train-*.tfrecord    records {caption: string, image_tokens: int64 [T]}
"""

# B batch, T image tokens

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_dalle.utils.atomic import atomic_path

SHARDS = "train-*.tfrecord"


def write_token_records(
    path: str | os.PathLike, captions: Iterable[str], image_tokens: np.ndarray
) -> None:
    """Writes one shard, row by row. The file appears whole or not at all."""
    with atomic_path(path) as partial, tf.io.TFRecordWriter(str(partial)) as writer:
        for caption, tokens_T in zip(captions, image_tokens, strict=True):
            text = tf.train.BytesList(value=[caption.encode()])
            feature = {
                "caption": tf.train.Feature(bytes_list=text),
                "image_tokens": tf.train.Feature(
                    int64_list=tf.train.Int64List(value=tokens_T)
                ),
            }
            features = tf.train.Features(feature=feature)
            writer.write(tf.train.Example(features=features).SerializeToString())


def token_batches(
    directory: str | os.PathLike,
    image_length: int,
    batch_size: int,
    *,
    seed: int,
    first_step: int = 0,
    shuffled_rows: int = 100_000,
) -> tf.data.Dataset:
    """Endless shuffled batches of all shards of a folder, from any step on.

    A run that resumes at a step sees the batches of one that was never stopped; the
    records before them are read and thrown away.

    Args:
        directory: folder of the shards.
        image_length: T.
        batch_size: B. Batches may reach from one pass over the shards into the next.
        seed: of the order.
        first_step: the step that the first batch belongs to.
        shuffled_rows: a row is drawn among so many that come next in the shards.

    Returns:
        Batches `{"captions": string [B], "image_tokens": int32 [B, T]}`.

    Raises:
        FileNotFoundError: the folder holds no shard.
        ValueError: a shard is empty, or does not begin with a row of T tokens.
    """
    shards = sorted(map(os.fspath, Path(directory).glob(SHARDS)))
    if not shards:
        raise FileNotFoundError(
            f"{directory} must hold {SHARDS}. Write them with `write_token_records`."
        )
    features = {
        "caption": tf.io.FixedLenFeature([], tf.string),
        "image_tokens": tf.io.FixedLenFeature([image_length], tf.int64),
    }
    for shard in shards:
        _check_first_row(shard, features)

    def parse(records_B: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = tf.io.parse_example(records_B, features)
        return {
            "captions": rows["caption"],
            "image_tokens": tf.cast(rows["image_tokens"], tf.int32),
        }

    def shuffled(_):
        return (
            tf.data.TFRecordDataset(shards).shuffle(shuffled_rows, seed=seed).repeat()
        )

    # Made anew for each iterator, so that it starts with the first order: with a
    # strategy, `fit` takes an iterator before the one that it trains with.
    records = tf.data.Dataset.range(1).flat_map(shuffled)
    batches = records.batch(batch_size, drop_remainder=True).skip(first_step)
    return batches.map(parse, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def _check_first_row(shard: str, features: dict[str, tf.io.FixedLenFeature]) -> None:
    """Raises ValueError for a shard that would stop or hang a run hours later."""
    fault = "an empty file"
    try:
        for record in tf.data.TFRecordDataset(shard).take(1):
            tf.io.parse_single_example(record, features)
            return
    except tf.errors.DataLossError:
        fault = "a truncated or damaged row"
    except tf.errors.OpError:
        fault = "a row of another kind"
    length = features["image_tokens"].shape[0]
    raise ValueError(
        f"A shard must hold captions, each with {length} image tokens. Received: "
        f"{fault} in {shard}. Write it again with `write_token_records`, or copy it "
        "again."
    )
