"""Tests for values from outside in error texts."""

import pytest

from keras_dalle.utils.foreign_values import MAX_CHARACTERS, shortened


def _aliases(levels):
    value = ["leaf"]
    for _ in range(levels):
        value = [value] * 9
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [(3, "3"), ("a b", "'a b'"), ({"k": [1, None]}, "{'k': [1, None]}")],
)
def test_shows_a_small_value_whole(value, text):
    assert shortened(value) == text


@pytest.mark.parametrize(
    "value",
    [_aliases(40), "x" * 10**7, 10**100_000, {str(i): "y" * 99 for i in range(10**4)}],
    ids=["aliases", "string", "integer", "dictionary"],
)
def test_cuts_a_large_value(value):
    assert 0 < len(shortened(value)) <= MAX_CHARACTERS


def test_cuts_a_deep_value():
    value = []
    for _ in range(100_000):
        value = [value]
    assert shortened(value) == "[[[[...]]]]"
