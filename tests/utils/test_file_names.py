"""Names of files from prompts."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_dalle.utils.file_names import (
    MAX_NAME_BYTES,
    check_file_name,
    name_key,
    numbered,
    slug_of,
)


@pytest.mark.parametrize(
    "text, slug",
    [
        ("red heart", "red-heart"),
        ("Woman Firefighter: dark skin tone!", "woman-firefighter-dark-skin-tone"),
        ("❤️", "red-heart"),
        ("a 🚀 to the moon", "a-rocket-to-the-moon"),
        ("../../etc/passwd", "etc-passwd"),
        ("/", "picture"),
        ("", "picture"),
        ("\x00\n", "picture"),
        (os.fsdecode(b"red \xff"), "red"),
        ("Äpfel in “Köln”", "äpfel-in-köln"),
        ("नमस्ते 日本", "नमस्ते-日本"),
        ("cafe\u0301", "café"),
    ],
)
def test_slugs(text, slug):
    assert slug_of(text) == slug


def test_long_slugs_end_within_a_character():
    assert slug_of("日" * 100, max_bytes=10) == "日日日"
    assert slug_of("ab cd", max_bytes=3) == "ab"


@given(st.text(st.characters(), max_size=300))
def test_every_slug_is_a_safe_name(text):
    slug = slug_of(text)
    check_file_name(slug)
    assert len(slug.encode()) <= MAX_NAME_BYTES
    assert slug == unicodedata.normalize("NFC", slug)


@pytest.mark.parametrize("name", ["cat", "Cat 1", "my.cat", "日本", "a" * 120, "a-b_c"])
def test_good_names(name):
    check_file_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "a/b", "a\\b", "../x", "a\0", "a:b", "a\n", " a", "a "]
    + ["a.", "-a", "a" * 121, "日" * 41, "what?", "\udcff"],
)
def test_unsafe_names(name):
    with pytest.raises(ValueError, match="A name must be a file's"):
        check_file_name(name)


def test_numbers_and_letter_case():
    assert [numbered("cat", n) for n in (1, 2, 10)] == ["cat", "cat_2", "cat_10"]
    assert name_key("Straße É") == name_key("STRASSE E\u0301")
