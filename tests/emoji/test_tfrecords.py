"""TFRecord shards: what is written is read, and damage is named."""

import numpy as np
import pytest

from keras_dalle.data import tfrecords
from keras_dalle.data.emoji import EmojiPictures, RenderReport, caption_of
from keras_dalle.data.emoji_split import COMPOSITIONAL_TEST, SPLITS, TRAIN, VALIDATION
from keras_dalle.data.tfrecords import dataset, load_split, write_tfrecords
from tests.limits import file_limit

SEQUENCES = ["❤️", "👩🏿‍🚒", "🤰🏽", "🇳🇴", "😀", "🦊", "🎈"]


@pytest.fixture
def pictures():
    images = np.random.default_rng(0).integers(0, 256, (7, 6, 6, 3), np.uint8)
    captions = [caption_of(sequence) for sequence in SEQUENCES]
    return EmojiPictures(captions, SEQUENCES, images, RenderReport(7, 0, 0, 0))


@pytest.fixture
def directory(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(tfrecords, "ROWS_PER_SHARD", 2)
    write_tfrecords(tmp_path / "emoji", pictures)
    return tmp_path / "emoji"


def shards(directory, split):
    return sorted(directory.glob(f"{split}-*.tfrecord"))


def test_splits_are_read_as_written(directory, pictures):
    rows = {TRAIN: [0, 3, 4, 5, 6], COMPOSITIONAL_TEST: [1], VALIDATION: [2]}
    for split in SPLITS:
        captions, images = load_split(directory, split)
        assert captions == [pictures.captions[row] for row in rows[split]]
        np.testing.assert_array_equal(images, pictures.images[rows[split]])


def test_shards_are_named_by_split_and_number(directory):
    assert [path.name for path in shards(directory, TRAIN)] == [
        "train-00000-of-00003.tfrecord",
        "train-00001-of-00003.tfrecord",
        "train-00002-of-00003.tfrecord",
    ]


def test_writing_again_replaces_all_and_leaves_the_same_bytes(directory, pictures):
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    (directory / "train-00000-of-00009.tfrecord").write_bytes(b"stale")
    assert write_tfrecords(directory, pictures) == {
        TRAIN: 5,
        VALIDATION: 1,
        COMPOSITIONAL_TEST: 1,
    }
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_dataset_has_static_shapes(directory):
    spec = dataset(directory, TRAIN).element_spec
    assert spec["images"].shape == (6, 6, 3)
    assert spec["captions"].shape == ()


def test_interrupted_writing_is_noticed(directory, pictures, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tfrecords, "_write_shard", fail)
    with pytest.raises(KeyboardInterrupt):
        write_tfrecords(directory, pictures)
    with pytest.raises(FileNotFoundError, match="complete set of TFRecord shards"):
        load_split(directory, TRAIN)


def test_an_empty_split_is_an_empty_array(tmp_path, pictures):
    only_train = EmojiPictures(
        pictures.captions[3:],
        pictures.sequences[3:],
        pictures.images[3:],
        pictures.report,
    )
    write_tfrecords(tmp_path, only_train)
    captions, images = load_split(tmp_path, VALIDATION)
    assert captions == []
    assert images.shape == (0, 6, 6, 3)


def test_missing_directory_and_split_are_named(tmp_path, directory):
    with pytest.raises(FileNotFoundError, match="absent.*write_tfrecords"):
        load_split(tmp_path / "absent", TRAIN)
    with pytest.raises(ValueError, match="`split` must be one of .* Received: 'test'"):
        load_split(directory, "test")


@pytest.mark.parametrize("read", [dataset, load_split])
def test_damaged_shards_are_named(directory, read):
    shard = shards(directory, TRAIN)[1]
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-5])
    with pytest.raises(ValueError, match=f"{shard.name} is truncated or corrupt"):
        read(directory, TRAIN)
    shard.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    with pytest.raises(ValueError, match=f"{shard.name} is truncated or corrupt"):
        read(directory, TRAIN)
    shard.write_bytes(b"")
    with pytest.raises(ValueError, match="must hold 5 pictures. Received: 3"):
        read(directory, TRAIN)
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=f"{shard.name} is missing"):
        read(directory, TRAIN)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "{}", '{"rows": {}, "image_shape": [6, 6, 3]}', b"\xff"]
    + ['{"rows": 3, "image_shape": 3}', "[" * 10_000],
)
def test_damaged_contents_are_named(directory, content):
    content = content if isinstance(content, bytes) else content.encode()
    (directory / "contents.json").write_bytes(content)
    with pytest.raises(
        ValueError, match="contents.json must be JSON, as .* shards again"
    ):
        load_split(directory, TRAIN)


def test_a_full_disk_is_named_and_leaves_nothing(directory, pictures):
    (directory / "contents.json").unlink()
    with (
        file_limit(100),
        pytest.raises(OSError, match="no room to write .*tfrecord: F"),
    ):
        write_tfrecords(directory, pictures)
    assert not [path for path in directory.iterdir() if path.name.startswith(".")]
