from pathlib import Path

import pytest
import tensorflow as tf

from benchmarks.normalizer_differences import (
    captions,
    count_differences,
    markdown_table,
)
from keras_dalle.text.normalize_in_graph import GraphNormalizer, empty_if_blank

DOCS = Path(__file__).parents[2] / "docs"

# The most that may differ of each kind of caption; of every other kind, none.
MOST_DIFFERENT = {
    "one person mark": 20,
    "other scripts": 280,
    "broken encoding": 160,
    "hashtags": 40,
    "hashtags in lower case": 80,
    "each character to U+017F": 29,
    "each from there to U+052F": 492,
    "emoji joined at random": 445,
    "random ASCII": 41,
}


@pytest.fixture(scope="module")
def normalize():
    return GraphNormalizer()


@pytest.fixture(scope="module")
def differences():
    return count_differences()


def test_differences_to_the_library(differences):
    exceeded = {
        kind: (len(result.different), result.different[:3])
        for kind, result in differences.items()
        if len(result.different) > MOST_DIFFERENT.get(kind, 0)
    }
    assert not exceeded


def test_the_documented_table_is_what_was_counted(differences):
    documented = (DOCS / "checkpoints.md").read_text("utf-8")
    assert markdown_table(differences) in documented


def test_captions_are_many_and_distinct(differences):
    assert set(MOST_DIFFERENT) < set(differences)
    assert sum(result.num_captions for result in differences.values()) > 3000
    assert len(dict.fromkeys(captions())) > 3000


def test_what_differs_is_what_is_documented(differences):
    """Hashtags are all that differs in ASCII, `<person>` aside."""
    for kind in ("hashtags", "hashtags in lower case", "random ASCII"):
        assert all("#" in text for text, _, _ in differences[kind].different)
    for kind in ("other scripts", "broken encoding"):
        assert not any(text.isascii() for text, _, _ in differences[kind].different)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", " "),
        ("#DeepLearning in #NYCMarathon2022", " deep learning in nyc marathon2022"),
        ("aaaa???? bbbbb,,,,, 44444", " a, b, 44444"),
        (
            "\U0001f44d\U0001f3fd\U0001f1eb\U0001f1f7",
            " thumbs up medium skin tone, france",
        ),
        ("猫 КОТ", " 猫 kot"),
        ("a\x00\x01b", " ab"),
        (b"caf\xe9 \xff", " caf"),
    ],
)
def test_examples(normalize, text, expected):
    assert normalize([text]).numpy()[0].decode() == expected


def test_shapes(normalize):
    assert normalize("A").numpy() == b" a"
    assert normalize(["A", "B"]).numpy().tolist() == [b" a", b" b"]
    assert normalize(tf.zeros([0], tf.string)).shape == [0]


def test_in_tf_data_and_tf_function(normalize):
    texts = ["A RED   Heart!!", "", "ÉTÉ \u2600"]
    expected = normalize(texts).numpy().tolist()
    rows = tf.data.Dataset.from_tensor_slices(texts)
    assert list(rows.map(normalize).as_numpy_iterator()) == expected
    batches = list(rows.batch(2).map(normalize).as_numpy_iterator())
    assert [text for batch in batches for text in batch] == expected
    assert tf.function(normalize)(tf.constant(texts)).numpy().tolist() == expected


def test_a_row_does_not_depend_on_its_batch(normalize):
    texts = [text for _, text in captions()][::97]
    together = normalize(texts).numpy().tolist()
    assert together == [normalize(text).numpy() for text in texts]


def test_empty_if_blank():
    assert empty_if_blank([" ", " a", ""]).numpy().tolist() == [b"", b" a", b""]
