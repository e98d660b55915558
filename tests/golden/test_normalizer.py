"""`TextNormalizer` against the original's, text for text."""

import json

import pytest

from keras_dalle.text.normalizer import TextNormalizer
from keras_dalle.text.word_splitting import WordSplitter
from tests.golden.golden_data import ROOT, check_found

FOLDERS = sorted(path.parent for path in ROOT.rglob("normalizer.json"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_normalizer(folder):
    golden = json.loads((folder / "normalizer.json").read_text(encoding="utf-8"))
    words = WordSplitter.from_file(folder / golden["frequency_file"])
    normalize = TextNormalizer(words)
    wrong = [
        (pair["input"], normalize(pair["input"]), pair["output"])
        for pair in golden["pairs"]
        if normalize(pair["input"]) != pair["output"]
    ]
    assert not wrong


def test_there_are_cases():
    check_found(FOLDERS)
