"""The graph tokenizer against Hugging Face `tokenizers`, on what users may type."""

import random
import time

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from keras_dalle.text.byte_pair_encoding import (
    BytePairEncoder,
    mark_words,
    to_valid_utf8,
)
from keras_dalle.text.vocabulary import (
    SPECIAL_TOKENS,
    Vocabulary,
    byte_characters,
    train_vocabulary,
)

CAPTIONS = (
    "a photo of a red heart",
    "woman firefighter: medium-dark skin tone",
    "the Eiffel tower's landing on the moon, it's 1234 km away",
    "they're we've I'm you'll he'd  don't    stop",
    "αβγ Ελλάδα café naïve 東京タワー 😀😀👍🏽 — “quotes”",
    "aaaa aaaaaaaa =========== ------- ........ 0000000",
)
PIECES = (
    *" \t\n\r\x0b\x0c\x00\x1c\x1f\x85\xa0\u1680\u2003\u2028\u202f\u3000\ufeff\u200b",
    *"'aéßǅ東ー٣Ⅷ½²!_-…\u0301\u200d\ufe0f\U0001f3fd\uffff\ufdd0\ufffd\U0001f600ÿþ",
    *("'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "’s", "  ", "   ", "aaaaa"),
    *SPECIAL_TOKENS,
    *("<mask", "mask>", "<<s>>", "</s", "heart", " red", "12345"),
    *("\u1c89", "\U00010d40", "\U0002ebf0"),
)


def hf_tokenizer(ids: dict[str, int], merges: list[str]) -> Tokenizer:
    pairs = [tuple(merge.split(" ")) for merge in merges]
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(t, lstrip=t == "<mask>", normalized=True) for t in SPECIAL_TOKENS]
    )
    return tokenizer


def hf_ids(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    return [encoding.ids for encoding in encodings]


@pytest.fixture(scope="module")
def trained():
    ids, merges = train_vocabulary(CAPTIONS * 2, 500)
    return BytePairEncoder(Vocabulary(ids, tuple(merges))), hf_tokenizer(ids, merges)


def check_equal(trained, texts: list[str]) -> None:
    encoder, reference = trained
    got, expected = encoder.encode(texts).to_list(), hf_ids(reference, texts)
    wrong = [(t, g, e) for t, g, e in zip(texts, got, expected, strict=True) if g != e]
    assert not wrong
    decoded = [text.decode() for text in encoder.decode(encoder.encode(texts)).numpy()]
    assert decoded == reference.decode_batch(expected)


def test_captions_and_their_variations(trained):
    rng = random.Random(0)
    texts = list(CAPTIONS)
    for _ in range(600):
        text = list(rng.choice(CAPTIONS))
        for _ in range(rng.randint(1, 5)):
            text.insert(rng.randint(0, len(text)), rng.choice(PIECES))
        texts.append("".join(text))
    check_equal(trained, texts)


@given(texts=st.lists(st.text(max_size=60), min_size=8, max_size=24))
@settings(max_examples=50, deadline=None)
def test_any_text(trained, texts):
    check_equal(trained, texts)


@given(
    texts=st.lists(
        st.lists(st.sampled_from(PIECES), max_size=16).map("".join),
        min_size=8,
        max_size=24,
    )
)
@settings(max_examples=60, deadline=None)
def test_mixes_of_difficult_pieces(trained, texts):
    check_equal(trained, texts)


@pytest.mark.parametrize("seed", range(12))
def test_any_merge_list(seed):
    """Also rules in an order that no training gives, and several ways to a token."""
    rng = random.Random(seed)
    tokens, merges = ["a", "b", "c"], []
    while len(merges) < 12:
        left, right = rng.choice(tokens), rng.choice(tokens)
        if len(left + right) < 8 and f"{left} {right}" not in merges:
            merges.append(f"{left} {right}")
            tokens.append(left + right)
    if seed % 3:
        rng.shuffle(merges)
    ids = {
        token: i for i, token in enumerate(dict.fromkeys([*SPECIAL_TOKENS, *tokens]))
    }
    encoder = BytePairEncoder(Vocabulary(ids, tuple(merges)))
    texts = ["".join(rng.choices("abc", k=rng.randint(0, 40))) for _ in range(300)]
    assert encoder.encode(texts).to_list() == hf_ids(hf_tokenizer(ids, merges), texts)


def test_every_character_is_in_the_class_that_tokenizers_has():
    # Ideographs and private use fill their planes evenly: a sample is enough there.
    points = [*range(0x3400), *range(0x3400, 0xA000, 7), *range(0xA000, 0xAC00)]
    points += [*range(0xAC00, 0xD780, 7), *range(0xD780, 0xD800)]
    points += [*range(0xE000, 0x20000), *range(0x20000, 0x33500, 7)]
    points += [*range(0x2EB00, 0x2EF00), *range(0x33500, 0x110000, 997)]
    characters = [chr(point) for point in points]
    texts = [
        "".join(f"a{c}1{c}\n" for c in characters[start : start + 4096])
        for start in range(0, len(characters), 4096)
    ]
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for text, marked in zip(texts, mark_words(tf.constant(texts)).numpy(), strict=True):
        expected = [text[a:b] for _, (a, b) in splitter.pre_tokenize_str(text)]
        got = [word.decode() for word in marked.split(b"\xff") if word]
        assert got == expected


def test_bytes_that_the_vocabulary_lacks_are_left_out():
    ids = {**{t: i for i, t in enumerate(SPECIAL_TOKENS)}, "a": 5, "b": 6, "ab": 7}
    encoder = BytePairEncoder(Vocabulary(ids, ("a b",)))
    texts = ["axb", "a b", "é", "ab<s>ba"]
    got = encoder.encode(texts).to_list()
    assert got == hf_ids(hf_tokenizer(ids, ["a b"]), texts)
    assert got == [[7], [5, 6], [], [7, 0, 6, 5]]


def test_special_tokens_that_the_vocabulary_lacks_are_plain_text():
    ids = {c: i for i, c in enumerate([*SPECIAL_TOKENS[:3], *byte_characters()])}
    encoder = BytePairEncoder(Vocabulary(ids, ()))
    assert encoder.encode("<unk>").shape == [5]
    assert encoder.encode("<pad>").numpy().tolist() == [1]


def test_ranks_of_input_and_empty_batches(trained):
    encoder, _ = trained
    assert encoder.encode("a red heart").shape.rank == 1
    assert encoder.encode("").numpy().tolist() == []
    assert encoder.encode(["", ""]).to_list() == [[], []]
    assert encoder.encode(tf.zeros([0], tf.string)).to_list() == []
    assert encoder.encode(["", "a", ""]).row_lengths().numpy().tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match=r"one string or a batch.*\(1, 1\)"):
        encoder.encode([["a"]])


def test_texts_that_repeat_keep_their_places(trained):
    encoder, _ = trained
    texts = ["a b", "", "c", "a b", "", "cc", "a b"]
    alone = {text: encoder.encode(text).numpy().tolist() for text in texts}
    assert encoder.encode(texts).to_list() == [alone[text] for text in texts]


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_invalid_utf8_is_read_as_replacement_characters(trained, texts):
    encoder, _ = trained
    replaced = [text.decode("utf-8", "replace").encode() for text in texts]
    assert to_valid_utf8(tf.constant(texts)).numpy().tolist() == replaced
    assert encoder.encode(texts).to_list() == encoder.encode(replaced).to_list()
    assert encoder.decode(encoder.encode(texts)).numpy().tolist() == replaced


def test_half_a_character_decodes_to_a_replacement_character(trained):
    encoder, reference = trained
    ids = encoder.encode("ÿ").numpy()[:1]
    assert encoder.decode(ids).numpy().decode() == reference.decode(ids.tolist())


def test_unknown_ids_decode_to_nothing(trained):
    encoder, _ = trained
    assert encoder.decode([[-1, 10**6, 0, 1, 2]]).numpy().tolist() == [b""]


@pytest.mark.parametrize(
    "text",
    [
        " ".join(CAPTIONS * 50)[:10_000],
        "a" * 10_000,
        " " * 10_000,
        "<mask>" * 1_666,
        "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz", k=10_000)),
    ],
    ids=["captions", "one letter", "spaces", "masks", "one word"],
)
def test_ten_thousand_characters(trained, text):
    encoder, _ = trained
    encoder.encode("warm up")
    start = time.perf_counter()
    encoder.encode(text)
    assert time.perf_counter() - start < 5  # 0.005 to 1 s on an idle core
    check_equal(trained, [text])


def test_only_core_ops(trained):
    encoder, _ = trained
    graph = encoder._encode_batch.get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    ops = {node.op for node in nodes}
    allowed_tables = {"LookupTableFindV2"}
    assert {op for op in ops if "Table" in op} <= allowed_tables
    assert not {op for op in ops if "PyFunc" in op or "RegexSplit" in op}
