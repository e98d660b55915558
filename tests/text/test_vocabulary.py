import json
import shutil

import pytest

from keras_dalle.text.vocabulary import (
    SPECIAL_TOKENS,
    Vocabulary,
    byte_characters,
    read_merges,
    read_tokenizer_files,
    read_vocabulary,
    train_vocabulary,
    write_vocabulary,
)
from tests.golden.golden_data import ROOT

FOLDER = ROOT / "text" / "tokenizer"
CAPTIONS = ["red heart", "red hair", "a heart with an arrow", "woman: red hair"] * 3


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(FOLDER, tmp_path / "tokenizer")


def rewrite(path, change):
    contents = json.loads(path.read_text(encoding="utf-8"))
    change(contents)
    path.write_text(json.dumps(contents), encoding="utf-8")


def test_byte_characters_are_gpt2s():
    characters = byte_characters()
    assert len(set(characters)) == 256
    assert [characters[b] for b in b" \n!a\x7f\xa0\xad\xff\x00"] == list("ĠĊ!aġłŃÿĀ")


def test_tokenizer_json_equals_vocab_and_merges(folder):
    whole = read_tokenizer_files(folder)
    (folder / "tokenizer.json").unlink()
    assert read_tokenizer_files(folder) == whole
    assert len(whole[0]) == 600 and len(whole[1]) == 339
    Vocabulary(whole[0], tuple(whole[1]))


def test_tokenizer_json_of_newer_releases(folder):
    expected = read_tokenizer_files(folder)

    def change(contents):
        model = contents["model"]
        model["merges"] = [merge.split(" ") for merge in model["merges"]]
        ids = model["vocab"]
        contents["added_tokens"] = [
            {"id": ids.pop(token), "content": token} for token in SPECIAL_TOKENS
        ]

    rewrite(folder / "tokenizer.json", change)
    assert read_tokenizer_files(folder) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["model"].update(type="WordPiece"), "`type`.*'WordPiece'"),
        (lambda c: c["model"].update(dropout=0.1), "`dropout`.*0.1"),
        (lambda c: c.update(normalizer={"type": "NFC"}), "`normalizer`.*NFC"),
        (
            lambda c: c["pre_tokenizer"].update(add_prefix_space=True),
            "`add_prefix_space`.*True",
        ),
        (lambda c: c.update(pre_tokenizer=None), "pre_tokenizer's `type`.*None"),
        (
            lambda c: c.update(added_tokens=[{"id": 600, "content": "<new>"}]),
            "added token's `content`.*'<new>'",
        ),
        (lambda c: c.pop("model"), "must hold a pre-tokenizer and a model"),
    ],
)
def test_tokenizers_of_another_kind(folder, change, message):
    rewrite(folder / "tokenizer.json", change)
    with pytest.raises(ValueError, match=message):
        read_tokenizer_files(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.json"])
def test_truncated_json(folder, name):
    path = folder / name
    path.write_bytes(path.read_bytes()[:1000])
    if name == "vocab.json":
        (folder / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=f"{name} is not valid JSON"):
        read_tokenizer_files(folder)


def test_files_that_are_not_what_they_should_be(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="file must be text in UTF-8"):
        read_merges(path)
    path.write_text("[1, 2]")
    with pytest.raises(ValueError, match="one JSON object"):
        read_vocabulary(path)
    with pytest.raises(FileNotFoundError, match="must exist.*nowhere"):
        read_vocabulary(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="tokenizer.json, or vocab.json and"):
        read_tokenizer_files(tmp_path)


@pytest.mark.parametrize(
    ("ids", "merges", "message"),
    [
        ({}, (), "at least one token"),
        ({"a": 0, "b": "1"}, (), "an integer"),
        ({"a": -1}, (), "an integer"),
        ({"a": 0, "b": 0}, (), "2 tokens with 1 ids"),
        ({"a": 0, "b": 1}, ("a b",), r"rule 0 'a b' \(unknown: \['ab'\]\)"),
        ({"a": 0, "aa": 1, "aaa": 2}, ("a a", "a a a"), "rule 1 'a a a'"),
        ({"a": 0}, ("a",), "rule 0 'a'"),
    ],
)
def test_vocabularies_that_do_not_fit(ids, merges, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(ids, merges)


def test_order_of_merges():
    ids = {t: i for i, t in enumerate(["a", "b", "ab", "aab", "aa"])}
    assert Vocabulary(ids, ("a b", "a ab")).merges_in_order()
    assert not Vocabulary(ids, ("a ab", "a b")).merges_in_order()
    ids["aabb"] = 5
    assert Vocabulary(ids, ("a b", "a ab", "aab b")).merges_in_order()
    # The last rule makes a token that one before it has used.
    assert not Vocabulary(ids, ("a b", "a ab", "aab b", "aa b")).merges_in_order()


def test_write_then_read(tmp_path):
    ids, merges = read_tokenizer_files(FOLDER)
    write_vocabulary(tmp_path, Vocabulary(ids, tuple(merges)))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "merges.txt",
        "vocabulary.json",
    ]
    assert read_vocabulary(tmp_path / "vocabulary.json") == ids
    assert read_merges(tmp_path / "merges.txt") == merges
    (tmp_path / "merges.txt").write_bytes(b"#version: 0.2\r\na b\r\n\r\n")
    assert read_merges(tmp_path / "merges.txt") == ["a b"]


def test_training():
    ids, merges = train_vocabulary(iter(CAPTIONS), 280)
    assert list(ids.values()) == list(range(280))
    assert list(ids)[:5] == list(SPECIAL_TOKENS)
    assert set(list(ids)[5:261]) == set(byte_characters())
    assert "Ġheart" in ids and len(merges) == 280 - 261
    assert Vocabulary(ids, tuple(merges)).merges_in_order()
    assert (ids, merges) == train_vocabulary(iter(CAPTIONS), 280)


def test_training_with_little_text_gives_a_smaller_vocabulary():
    ids, merges = train_vocabulary(["ab", "ab"], 1000)
    assert list(ids)[261:] == ["ab"] and merges == ["a b"]


def test_training_a_vocabulary_that_is_too_small():
    with pytest.raises(ValueError, match="at least 261.*vocabulary_size=260"):
        train_vocabulary(CAPTIONS, 260)
