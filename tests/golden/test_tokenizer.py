"""`DalleBartTokenizer` and the preprocessor against the original's, id for id."""

import json

import pytest
import tensorflow as tf

from keras_dalle.models.dalle_bart.dalle_bart_text_to_image_preprocessor import (
    DalleBartTextToImagePreprocessor,
)
from keras_dalle.models.dalle_bart.dalle_bart_tokenizer import DalleBartTokenizer
from keras_dalle.text.normalizer import TextNormalizer
from keras_dalle.text.packing import pack_prompts
from keras_dalle.text.word_splitting import WordSplitter
from tests.golden.golden_data import ROOT, check_found


def of_each_folder_with(name):
    folders = sorted(path.parent for path in ROOT.rglob(name))
    check_found(folders)
    return pytest.mark.parametrize("folder", folders, ids=lambda path: path.name)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def tokenizer_of(folder):
    return DalleBartTokenizer.from_files(folder / "tokenizer")


@of_each_folder_with("tokenizer_cases.json")
def test_ids(folder):
    cases = read(folder / "tokenizer_cases.json")["cases"]
    tokenizer = tokenizer_of(folder)
    rows = tokenizer([case["text"] for case in cases]).to_list()
    start, end = tokenizer.start_token_id, tokenizer.end_token_id
    wrong = [
        (case["text"], row, case["ids"])
        for row, case in zip(rows, cases, strict=True)
        if [start, *row, end] != case["ids"]
    ]
    assert not wrong


@of_each_folder_with("tokenizer_cases.json")
def test_padded_and_truncated_rows(folder):
    golden = read(folder / "tokenizer_cases.json")
    tokenizer = tokenizer_of(folder)
    token_ids, padding_mask = pack_prompts(
        tokenizer([case["text"] for case in golden["cases"]]),
        golden["max_length"],
        tokenizer.start_token_id,
        tokenizer.end_token_id,
        tokenizer.pad_token_id,
    )
    padded = [case["ids_padded"] for case in golden["cases"]]
    assert token_ids.numpy().tolist() == padded
    assert padding_mask.numpy().tolist() == [case["mask"] for case in golden["cases"]]


@of_each_folder_with("tokenizer_cases.json")
def test_decoded_text(folder):
    cases = read(folder / "tokenizer_cases.json")["cases"]
    rows = tf.ragged.constant([case["ids"] for case in cases])
    texts = [text.decode() for text in tokenizer_of(folder).detokenize(rows).numpy()]
    assert texts == [case["decoded"] for case in cases]


@of_each_folder_with("tokenizer_cases.json")
def test_special_token_ids(folder):
    golden = read(folder / "tokenizer_cases.json")
    tokenizer, special = tokenizer_of(folder), golden["special"]
    assert tokenizer.vocabulary_size() == golden["vocab_size"]
    assert tokenizer.start_token_id == special["bos"]
    assert tokenizer.pad_token_id == special["pad"]
    assert tokenizer.end_token_id == special["eos"]
    assert tokenizer.token_to_id("<unk>") == special["unk"]
    assert tokenizer.token_to_id("<mask>") == special["mask"]


@of_each_folder_with("processor.json")
def test_processor(folder):
    """From texts to ids and masks, and the blank caption of guidance."""
    golden = read(folder / "processor.json")
    texts = golden["texts"]
    if golden["normalize_text"]:
        frequency_file = folder / read(folder / "normalizer.json")["frequency_file"]
        texts = list(map(TextNormalizer(WordSplitter.from_file(frequency_file)), texts))
    preprocessor = DalleBartTextToImagePreprocessor(
        tokenizer_of(folder), golden["max_text_length"]
    )
    conditional = preprocessor.generate_preprocess(texts)
    blank = preprocessor.negative_preprocess([""] * len(texts))
    for inputs, suffix in ((conditional, ""), (blank, "_uncond")):
        ids, mask = inputs["encoder_token_ids"], inputs["encoder_padding_mask"]
        assert ids.numpy().tolist() == golden[f"input_ids{suffix}"]
        assert mask.numpy().tolist() == golden[f"attention_mask{suffix}"]
