"""The evaluation of a preset, on a few pictures and an untrained model."""

import json

import numpy as np

from keras_dalle.data.emoji import SKIN_TONES, EmojiPictures, RenderReport, caption_of
from keras_dalle.data.emoji_split import SPLITS
from keras_dalle.data.tfrecords import load_split, write_tfrecords
from keras_dalle.evaluation.emoji_retrieval import evaluate_emoji
from tests.tiny_preset import tiny_task


def test_evaluate_emoji(tmp_path):
    task = tiny_task()
    # All tones of a role and of two hands reach every split.
    firefighters = [f"{adult}{{}}\u200d🚒" for adult in ("🧑", "👩", "👨")]
    bases = [*firefighters, "👍{}", "👊{}", "🤚{}", "👂{}"]
    sequences = [base.format(tone) for base in bases for tone in SKIN_TONES]
    captions = [caption_of(sequence) for sequence in sequences]
    # The gallery is what the model draws, so every picture must find itself.
    pictures = EmojiPictures(
        captions=captions,
        sequences=sequences,
        images=task.generate(captions, seed=0),
        report=RenderReport(len(sequences), 0, 0, 0),
    )
    rows = write_tfrecords(tmp_path / "data", pictures)
    assert all(rows[split] > 0 for split in SPLITS)

    results = evaluate_emoji(task, tmp_path / "data", tmp_path / "out")

    assert [result.split for result in results] == list(SPLITS)
    assert [result.prompts for result in results] == [rows[split] for split in SPLITS]
    distinct = len(np.unique(pictures.images, axis=0)) == len(sequences)
    if distinct:
        assert [result.top_1 for result in results] == [1.0, 1.0, 1.0]
    assert all(result.top_10 >= result.top_5 >= result.top_1 for result in results)
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert written[0]["split"] == SPLITS[0] and written[0]["top_1"] == results[0].top_1
    for split in SPLITS:
        assert (tmp_path / "out" / f"{split}.png").stat().st_size > 0
        assert len(load_split(tmp_path / "data", split)[0]) == rows[split]
