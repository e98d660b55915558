"""`DalleBartTokenizer` against transformers' BartTokenizerFast, id for id."""

import json

import pytest
import tensorflow as tf

from keras_dalle.models.dalle_bart.dalle_bart_tokenizer import DalleBartTokenizer
from keras_dalle.text.packing import pack_prompts
from tests.golden.golden_data import ROOT

FOLDER = ROOT / "text"
GOLDEN = json.loads((FOLDER / "tokenizer_cases.json").read_text(encoding="utf-8"))
CASES = GOLDEN["cases"]


@pytest.fixture(scope="module")
def tokenizer():
    return DalleBartTokenizer.from_files(FOLDER / "tokenizer")


def test_ids(tokenizer):
    rows = tokenizer([case["text"] for case in CASES]).to_list()
    start, end = tokenizer.start_token_id, tokenizer.end_token_id
    wrong = [
        (case["text"], row, case["ids"])
        for row, case in zip(rows, CASES, strict=True)
        if [start, *row, end] != case["ids"]
    ]
    assert not wrong


def test_padded_and_truncated_rows(tokenizer):
    token_ids, padding_mask = pack_prompts(
        tokenizer([case["text"] for case in CASES]),
        GOLDEN["max_length"],
        tokenizer.start_token_id,
        tokenizer.end_token_id,
        tokenizer.pad_token_id,
    )
    assert token_ids.numpy().tolist() == [case["ids_padded"] for case in CASES]
    assert padding_mask.numpy().tolist() == [case["mask"] for case in CASES]
    assert any(len(case["ids"]) > GOLDEN["max_length"] for case in CASES)


def test_decoded_text(tokenizer):
    rows = tf.ragged.constant([case["ids"] for case in CASES])
    texts = [text.decode() for text in tokenizer.detokenize(rows).numpy()]
    assert texts == [case["decoded"] for case in CASES]


def test_special_token_ids(tokenizer):
    special = GOLDEN["special"]
    assert tokenizer.vocabulary_size() == GOLDEN["vocab_size"]
    assert tokenizer.start_token_id == special["bos"]
    assert tokenizer.pad_token_id == special["pad"]
    assert tokenizer.end_token_id == special["eos"]
    assert tokenizer.token_to_id("<mask>") == special["mask"]
