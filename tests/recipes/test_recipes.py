"""Every recipe runs from its data to its preset, on a few pictures for one epoch."""

import numpy as np
import pytest

from keras_dalle import recipes
from keras_dalle.data.emoji import EmojiPictures, RenderReport, caption_of
from keras_dalle.data.emoji_split import TRAIN, VALIDATION, split_of
from keras_dalle.data.tfrecords import write_tfrecords
from keras_dalle.models import DalleBartTextToImage
from keras_dalle.recipes.emoji_tiny import emoji_tiny
from keras_dalle.recipes.emoji_vqgan import emoji_vqgan
from keras_dalle.trainer.trainer import train


@pytest.fixture(scope="module")
def data_directory(tmp_path_factory):
    """36 pictures to train on and 2 to validate on, all of random pixels."""
    import emoji

    wanted = {TRAIN: 36, VALIDATION: 2}
    sequences = []
    for sequence in emoji.EMOJI_DATA:
        split = split_of(sequence)
        if wanted.get(split, 0) > 0:
            wanted[split] -= 1
            sequences.append(sequence)
    shape = (len(sequences), 64, 64, 3)
    images = np.random.default_rng(0).integers(0, 256, shape).astype("uint8")
    directory = tmp_path_factory.mktemp("data")
    write_tfrecords(
        directory,
        EmojiPictures(
            captions=[caption_of(sequence) for sequence in sequences],
            sequences=sequences,
            images=images,
            report=RenderReport(len(sequences), 0, 0, 0),
        ),
    )
    return directory


def test_recipes_in_sequence(data_directory, tmp_path):
    vqgan_run = emoji_vqgan(tmp_path / "emoji_vqgan", data_directory, epochs=1)
    assert vqgan_run.steps_per_epoch == 1
    train(vqgan_run, tmp_path / "emoji_vqgan")

    tiny_run = emoji_tiny(tmp_path / "emoji_tiny", data_directory, epochs=1)
    preset = train(tiny_run, tmp_path / "emoji_tiny")

    loaded = DalleBartTextToImage.from_preset(str(preset))
    assert loaded.generate("red heart", seed=0).shape == (64, 64, 3)
    assert (tmp_path / "emoji_tiny" / "tensorboard" / "train").is_dir()


def test_unknown_recipe(tmp_path):
    with pytest.raises(ValueError, match="Unknown recipe: emoji_tyny. Did you mean"):
        recipes.run("emoji_tyny", tmp_path)
