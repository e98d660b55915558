"""Texts and numbers that a user gives."""

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.utils.plain_values import (
    byte_strings,
    count,
    integers,
    reals,
    texts,
)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (3, 3),
        (np.uint8(3), 3),
        (np.array(-3), -3),
        (tf.constant(3), 3),
        ([3, np.int64(4), tf.constant(5)], [3, 4, 5]),
        (np.arange(3), [0, 1, 2]),
        (tf.range(2), [0, 1]),
        ((), []),
    ],
)
def test_integers(values, expected):
    found = integers("x", values, np.int32)
    assert found.dtype == np.int32 and found.tolist() == expected


@pytest.mark.parametrize(
    "values",
    [1.5, np.float32(2), True, [1, np.True_], "3", b"3", None, [None], [[1]], {1}, 1j],
)
def test_what_is_no_integer(values):
    with pytest.raises(ValueError, match="`x` must be an integer, or a list of integ"):
        integers("x", values, np.int64)


@pytest.mark.parametrize("values", [2**31, [0, -(2**31) - 1], 10**99])
def test_integers_that_do_not_fit(values):
    with pytest.raises(ValueError, match="`x` must fit int32. Received: .{1,200}$"):
        integers("x", values, np.int32)


def test_reals():
    found = reals("x", [1, 0.5, np.float16(0.25), np.int8(-2), tf.constant(3.0)])
    assert found.tolist() == [1.0, 0.5, 0.25, -2.0, 3.0]
    assert np.isnan(reals("x", float("nan")))
    for values in (False, "0.5", [None], 1j, [[0.5]], np.array(["1"])):
        with pytest.raises(ValueError, match="`x` must be a number, or a list of num"):
            reals("x", values)
    with pytest.raises(ValueError, match="`x` must fit float64"):
        reals("x", [10**400])


def test_texts():
    given = ["a", b"\xff", np.str_("c"), tf.constant("d")]
    assert texts("x", given).tolist() == ["a", b"\xff", "c", b"d"]
    assert texts("x", np.array(["a", "bc"])).tolist() == ["a", "bc"]
    assert texts("x", tf.constant(["a"])).tolist() == [b"a"]
    assert texts("x", "").shape == ()
    for values in (7, None, ["a", None], [["a"]], {"a"}, iter("ab"), float("nan")):
        with pytest.raises(ValueError, match="`x` must be a text, or a list of texts"):
            texts("x", values)
    with pytest.raises(ValueError, match="text that UTF-8 can hold. .* Give bytes"):
        texts("x", ["a", "b\udcff"])


def test_byte_strings():
    assert byte_strings("x", [b"a", b""]).tolist() == [b"a", b""]
    with pytest.raises(ValueError, match="`x` must be bytes, .* 'cat.png' .str"):
        byte_strings("x", "cat.png")


def test_count():
    assert [count("x", n) for n in (1, np.int64(7), np.array(2), tf.constant(3))] == [
        1,
        7,
        2,
        3,
    ]
    for value in (0, -1, True, 1.0, "2", None, [2], float("nan")):
        with pytest.raises(ValueError, match="`x` must be an integer of at least 1"):
            count("x", value)
