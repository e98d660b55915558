import pickle
import re
from collections import Counter

import pytest

from keras_dalle.text.normalization_rules import RULES
from keras_dalle.text.normalizer import PERSONS, TextNormalizer
from keras_dalle.text.word_splitting import FREQUENCY_FILE, WordSplitter

normalize = TextNormalizer()


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", " "),
        ("A CAT &amp; 2,000 dogs!!", " a cat & 2000 dogs"),
        ("It's 3.5 m. \u201cBig\u201d", ' it\'s 3.5 m, " big "'),
        ("on 10/12, and/or VIII", " on 10/12, and, or viii"),
        ("<PERSON>, <person> and <person> sit", " people sit"),
        ("well-known - see http://a.b/c", " well known, see"),
        ("straße in İzmir", " strasse in izmir"),
        ("I \u2764\ufe0f it", " i, red heart, it"),
    ],
)
def test_examples(text, expected):
    assert normalize(text) == expected


# === Versions of the libraries that the original calls ===


@pytest.mark.parametrize(
    "text, expected",
    [
        ("スーパー", " supa"),  # Unidecode 1.4.0 spells the long vowel "-"
        ("A・B ♤ 20℃", " ab 20"),  # and these "*", "spades", "degC"
        ("\U0001f1f9\U0001f1f7", " turkey"),  # emoji 2.16: "Türkiye"
        # Emoji 15.1 has the lime, which 15.0 reads as two emoji.
        ("a \U0001f34b\u200d\U0001f7e9", " a, lemon, green square"),
        ("\U0001f469\u200d rises", " rises"),  # a joiner that joins nothing
    ],
)
def test_spells_as_the_original_versions(text, expected):
    assert normalize(text) == expected


# === Persons ===


def test_one_person_is_drawn_by_weight():
    drawn = Counter(normalize(f"<person> {n}").rsplit(" ", 1)[0] for n in range(2000))
    total = sum(PERSONS.values())
    for person, weight in PERSONS.items():
        assert drawn.pop(f" {person}") / 2000 == pytest.approx(weight / total, abs=0.04)
    assert not drawn


def test_a_person_depends_on_text_and_seed_alone():
    texts = [f"<PERSON> {n} <person>." for n in range(40)]
    seeded = [[TextNormalizer(seed=s)(text) for text in texts] for s in (0, 1)]
    assert seeded[0] == [normalize(text) for text in reversed(texts)][::-1]
    assert seeded[0] != seeded[1]


# === Hashtags ===


def test_hashtags_are_split_by_word_counts(tmp_path):
    path = tmp_path / FREQUENCY_FILE
    path.write_text("the 9\nred 5\nfox 3\nis 2\n", encoding="utf-8")
    split = TextNormalizer.from_directory(tmp_path)
    assert split("#TheRedFox is #red_fox2022") == " the red fox is red fox 2022"
    assert normalize("#TheRedFox is #red_fox2022") == " theredfox is red fox2022"


def test_absent_word_counts_say_where_they_are_from(tmp_path):
    with pytest.raises(FileNotFoundError, match="enwiki.*dalle-mini/dalle-mini"):
        TextNormalizer.from_directory(tmp_path)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"the 5\nof\n", "line 2"),
        (b"the five\n", "line 1"),
        (b"\xff\xfe", "must be text in UTF-8"),
        (b"", "Received: none"),
    ],
)
def test_damaged_word_counts(tmp_path, content, message):
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        WordSplitter.from_file(path)


def test_word_counts_have_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_dalle.text.word_splitting.MAX_FILE_BYTES", 5)
    path = tmp_path / "words.txt"
    path.write_text("the 5\n", encoding="utf-8")
    with pytest.raises(ValueError, match="up to 5 bytes. Received: .* with 6"):
        WordSplitter.from_file(path)


def test_cheapest_split():
    split = WordSplitter(["a", "b", "ab", "abc", "c", "7", "it's"])
    assert split("abc") == "abc"  # log 4 is less than log 3 + log 5
    assert split("aab 77 7a!") == "a a b 77 7 a"
    assert split("xyz") == "x y z" and split("-_-") == ""


# === Form ===


def test_workers_can_be_sent_one():
    split = TextNormalizer(WordSplitter(["red", "fox"]), seed=1)
    sent = pickle.loads(pickle.dumps(split))
    assert sent("#RedFox <person>") == split("#RedFox <person>")


@pytest.mark.parametrize("text", [b"bytes", None, ["a list"]])
def test_other_types_are_refused(text):
    with pytest.raises(TypeError, match="must be a string. Received: "):
        normalize(text)


@pytest.mark.parametrize(
    "text",
    ["<person>" + " ,and" * 20_000, "a" + " \t" * 50_000 + "b", "\"'" * 50_000],
)
def test_long_captions_take_linear_time(text):
    assert normalize(text).startswith(" ")


def test_rules_are_in_the_syntax_that_re2_shares():
    look_around = re.compile(r"\(\?")
    assert not [rule.name for rule in RULES if look_around.search(rule.pattern)]
