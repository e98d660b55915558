"""Captioned pictures in sharded TFRecord files, one set of shards a split.

    train-00000-of-00004.tfrecord ...   records {caption, sequence, image (PNG)}
    contents.json                       what there must be: rows a split, image shape

`contents.json` is removed before the first shard changes and written after the last,
so a directory that has it is complete.
"""

# N pictures, H height, W width

import io
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_dalle.data.emoji import EmojiPictures
from keras_dalle.data.emoji_split import SPLITS, split_of
from keras_dalle.utils.atomic import atomic_path, write_text
from keras_dalle.utils.files import read_json

ROWS_PER_SHARD = 1024
_CONTENTS = "contents.json"
_AGAIN = (
    "Write the shards again: `keras-dalle prepare-data --data-dir`, or "
    "`write_tfrecords`."
)
_FEATURES = {
    name: tf.io.FixedLenFeature([], tf.string)
    for name in ("caption", "sequence", "image")
}


def write_tfrecords(directory: str | Path, pictures: EmojiPictures) -> dict[str, int]:
    """Writes the pictures of each split as TFRecord shards.

    Args:
        directory: Folder of the shards. Made if missing; an earlier set is replaced.
        pictures: Pictures uint8 [N, H, W, 3] with captions and sequences, which
            `split_of` divides.

    Returns:
        Number of pictures by split.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / _CONTENTS).unlink(missing_ok=True)
    splits = np.array([split_of(sequence) for sequence in pictures.sequences])
    rows_of_split: dict[str, int] = {}
    for split in SPLITS:
        for stale in directory.glob(f"{split}-?????-of-?????.tfrecord"):
            stale.unlink()
        rows = np.flatnonzero(splits == split)
        shards = _shard_names(split, len(rows))
        for name, shard_rows in zip(
            shards, np.array_split(rows, len(shards)), strict=True
        ):
            _write_shard(directory / name, _examples(pictures, shard_rows))
        rows_of_split[split] = len(rows)
    contents = {"rows": rows_of_split, "image_shape": pictures.images.shape[1:]}
    write_text(directory / _CONTENTS, json.dumps(contents, indent=2) + "\n")
    return rows_of_split


def dataset(directory: str | Path, split: str) -> tf.data.Dataset:
    """Returns the pictures of a split, in the order in which they were written.

    The shards' checksums are checked first.

    Args:
        directory: Folder written by `write_tfrecords`.
        split: One of `SPLITS`.

    Returns:
        Elements `{"captions": string [], "images": uint8 [H, W, 3]}`.

    Raises:
        ValueError: Unknown split, or a shard is damaged.
        FileNotFoundError: The folder or a shard is missing.
    """
    shards, image_shape = _checked_shards(Path(directory), split)

    def parse(record: tf.Tensor) -> dict[str, tf.Tensor]:
        row = tf.io.parse_single_example(record, _FEATURES)
        image = tf.io.decode_png(row["image"], channels=3)
        return {
            "captions": row["caption"],
            "images": tf.ensure_shape(image, image_shape),
        }

    records = tf.data.TFRecordDataset([str(shard) for shard in shards])
    return records.map(parse, num_parallel_calls=tf.data.AUTOTUNE)


def load_split(directory: str | Path, split: str) -> tuple[list[str], np.ndarray]:
    """Returns captions [N] and uint8 images [N, H, W, 3] of a split.

    Args and exceptions are those of `dataset`.
    """
    pictures = dataset(directory, split)
    rows = list(pictures.as_numpy_iterator())
    captions = [row["captions"].decode() for row in rows]
    images = np.zeros((len(rows), *pictures.element_spec["images"].shape), np.uint8)
    for image, row in zip(images, rows, strict=True):
        image[...] = row["images"]
    return captions, images


def _shard_names(split: str, num_rows: int) -> list[str]:
    shards = max(1, -(-num_rows // ROWS_PER_SHARD))
    return [f"{split}-{i:05d}-of-{shards:05d}.tfrecord" for i in range(shards)]


def _examples(pictures: EmojiPictures, rows: Iterable[int]) -> Iterable[bytes]:
    for row in rows:
        png = io.BytesIO()
        Image.fromarray(pictures.images[row]).save(png, "PNG")
        values = {
            "caption": pictures.captions[row].encode(),
            "sequence": pictures.sequences[row].encode(),
            "image": png.getvalue(),
        }
        features = {
            name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
            for name, value in values.items()
        }
        example = tf.train.Example(features=tf.train.Features(feature=features))
        yield example.SerializeToString(deterministic=True)


def _write_shard(path: Path, examples: Iterable[bytes]) -> None:
    with atomic_path(path) as partial, tf.io.TFRecordWriter(str(partial)) as writer:
        for example in examples:
            writer.write(example)


def _checked_shards(directory: Path, split: str) -> tuple[list[Path], list[int]]:
    if split not in SPLITS:
        raise ValueError(f"`split` must be one of {SPLITS}. Received: {split!r}")
    rows_of_split, image_shape = _read_contents(directory)
    rows = rows_of_split[split]
    shards = [directory / name for name in _shard_names(split, rows)]
    found = sum(_count_rows(shard) for shard in shards)
    if found != rows:
        raise ValueError(
            f"The shards of split {split!r} in {directory} must hold {rows} pictures. "
            f"Received: {found}. {_AGAIN}"
        )
    return shards, image_shape


def _read_contents(directory: Path) -> tuple[dict[str, int], list[int]]:
    """Reads the number of rows by split, and the shape of pictures."""
    path = directory / _CONTENTS
    try:
        contents = read_json(path)
        rows, shape = contents["rows"], contents["image_shape"]
        numbers = [*(rows[split] for split in SPLITS), *shape]
        is_right = len(shape) == 3 and all(type(x) is int and x >= 0 for x in numbers)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            "`directory` must hold a complete set of TFRecord shards. Received: "
            f"{directory}, without {_CONTENTS}. {_AGAIN}"
        ) from error
    except (ValueError, TypeError, KeyError):
        is_right = False
    if not is_right:
        raise ValueError(
            f"{path} must be JSON, as `write_tfrecords` writes it. Received: an empty "
            f"or damaged file. {_AGAIN}"
        )
    return rows, shape


def _count_rows(shard: Path) -> int:
    """Reads all records of a shard, which checks their lengths and checksums."""
    if not shard.is_file():
        raise FileNotFoundError(f"Shard {shard} is missing. {_AGAIN}")
    try:
        return sum(1 for _ in tf.data.TFRecordDataset(str(shard)))
    except tf.errors.DataLossError as error:
        raise ValueError(
            f"Shard {shard} is truncated or corrupt ({error.message}). {_AGAIN}"
        ) from error
