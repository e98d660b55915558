"""Labels in the scripts and emoji that the fonts of the machine have."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFont

from keras_dalle.data.emoji import FONT_PATHS
from keras_dalle.utils import labels
from keras_dalle.utils.fonts import Face, debian_package, default_face, is_coloured
from keras_dalle.utils.images import MissingGlyphs, image_grid
from keras_dalle.utils.labels import (
    LINE_HEIGHT,
    MAX_LINE_HEIGHT,
    boxes_message,
    clusters_of,
    line_of,
    readable,
    wrapped,
)
from tests.fonts import needs_font, needs_letters

GREY = np.full([1, 8, 8, 3], 99, np.uint8)
# What no font has, by Unicode's own word.
NOBODYS = "\U0010fffe"


def drawn(line, width=400):
    image = Image.new("RGB", (width, line.height), "white")
    line.draw(image, width // 2, 0)
    return image


def ink(image):
    """Returns the box around all pixels that are not white."""
    return ImageChops.invert(image).getbbox()


def test_ascii_is_drawn_as_pillow_draws_it():
    for text in ("woman firefighter: dark", "(x) [y] {z}, 100%!", "gjpq_|"):
        expected = Image.new("RGB", (400, LINE_HEIGHT), "white")
        font = ImageFont.load_default(size=13)
        draw = ImageDraw.Draw(expected)
        draw.text((200, 0), text, "black", font, anchor="ma")
        assert drawn(line_of(text)) == expected, text


@needs_letters
@pytest.mark.parametrize(
    "text",
    ["Müßiggang, façade", "Ёжик в тумане", "Ωκεανός", "شجرة كبيرة", "עץ גדול", "↯ ≠ ½"],
)
def test_scripts_are_no_boxes(text):
    assert boxes_message([text]) is None
    boxes = line_of(NOBODYS * len(text.replace(" ", "")))
    assert drawn(line_of(text)) != drawn(boxes)
    # One font for a word: the default one has its ASCII letters alone.
    for word in text.split():
        assert len(line_of(word).runs) == 1, word


@needs_letters
def test_arabic_letters_are_joined():
    """Shaped together they are narrower than one by one."""
    word = "شجرة"
    apart = sum(line_of(letter).width for letter in word)
    assert line_of(word).width < 0.9 * apart


@needs_font
@pytest.mark.parametrize(
    "emoji",
    ["🍏", "♥️", "👩🏽‍🚀", "🧔🏾‍♂️", "🇯🇵", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "7️⃣", "👩‍❤️‍💋‍👨", "✊🏻"],
)
def test_an_emoji_is_one_picture_in_colours(emoji):
    assert clusters_of(f"a{emoji}b") == ["a", emoji, "b"]
    line = line_of(emoji)
    assert 12 < line.width < 20 and line.height == LINE_HEIGHT
    pixels = np.asarray(drawn(line)).astype(int)
    is_coloured = np.ptp(pixels, axis=-1) > 40
    assert is_coloured.sum() > 20
    assert boxes_message([emoji]) is None


@needs_font
def test_text_and_emoji_share_a_line():
    line = line_of("big 🍏 tree")
    assert [run.text for run in line.runs] == ["big ", "🍏", " tree"]
    before, after = line_of("big "), line_of(" tree")
    assert line.width == pytest.approx(
        before.width + line_of("🍏").width + after.width, abs=0.01
    )
    left, _, right, _ = ink(drawn(line))
    assert right - left == pytest.approx(line.width, abs=3)


def test_emoji_that_are_asked_for_as_text():
    assert not any(map(is_coloured, ["a", "❤", "❤\ufe0e", "😀\ufe0e", "©", "1"]))
    assert all(map(is_coloured, ["❤\ufe0f", "😀", "1\ufe0f\u20e3", "🇫🇮"]))


@needs_letters
@pytest.mark.parametrize(
    "text",
    [
        "עץ (big) גדול",
        "tree עץ גדול 12 and more",
        "עץ 12 tree, 34 עץ",
        "a שלום, עולם! b",
        "(שלום) a",
        "שלום (עולם) 2024",
        "12 עץ",
    ],
)
def test_both_directions_as_fribidi_orders_them(text, monkeypatch):
    """Compares with one font, which Pillow's Raqm draws as a whole."""
    font = ImageFont.truetype("DejaVuSans.ttf", 13)
    plain = ImageFont.truetype(
        "DejaVuSans.ttf", 13, layout_engine=ImageFont.Layout.BASIC
    )
    face = Face(font, plain)
    monkeypatch.setattr(labels, "_face_of", lambda *_: face)
    line = labels.line_of.__wrapped__(text)
    first = next(x for x in text if x.isalpha())
    whole = labels.Line([labels.Run(text, face, first > "\u0590")])
    np.testing.assert_allclose(line.width, whole.width, atol=0.5)
    difference = np.asarray(drawn(line)).astype(int) - np.asarray(drawn(whole))
    assert np.abs(difference).mean() < 1, "as much as kerning between the runs"


def test_controls_are_left_out():
    assert readable("a\x00b\x1b[31m\u202ec\u200fd") == "ab[31mcd"
    assert readable("\ud800x") == "\ufffdx"
    assert [line.runs[0].text for line in wrapped("a\nb\t\r\n c", 400)] == ["a b c"]
    assert wrapped("\x00\x07", 400) == wrapped(" \n", 400) == []


@needs_letters
def test_piled_marks_stay_in_their_line():
    pile = "a" + "\u0301" * 5000 + " b"
    line = line_of(readable(pile))
    assert line.height <= MAX_LINE_HEIGHT
    grid = np.asarray(image_grid(np.repeat(GREY, 2, axis=0), 1, [pile, "x"]))
    assert (grid == 99).all(-1).sum() == 2 * 64, "no picture is drawn over"


@needs_font
def test_lines_break_between_emoji_and_not_within():
    family = "👩‍👩‍👧‍👦"
    lines = wrapped(family * 20, 120)
    assert all(line.width <= 120 for line in lines) and len(lines) > 1
    assert "".join(run.text for line in lines for run in line.runs) == family * 20
    for line in lines:
        assert set(clusters_of(line.runs[0].text)) == {family}


def test_a_box_is_said_with_its_package():
    message = boxes_message([NOBODYS, f"a{NOBODYS}b"])
    assert message.count("U+10FFFE") == 1
    assert "no font that is known here" in message
    with pytest.warns(MissingGlyphs, match="U\\+10FFFE"):
        image_grid(GREY, labels=[NOBODYS])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image_grid(GREY, labels=["plain"])
    assert debian_package("🐙") == "fonts-noto-color-emoji"
    assert debian_package("語") == debian_package("한") == "fonts-noto-cjk"
    assert debian_package("ཀ") == debian_package("ж") == "fonts-noto-core"
    assert debian_package("\ue000") is None
    assert default_face(13).has("ASCII") and not default_face(13).has("é")


ASKED = """
from keras_dalle.utils.labels import boxes_message
print([boxes_message([text]) for text in ("🐙", "\U00012300 語", "🐙 語" * 9)])
"""


@needs_font
@pytest.mark.parametrize("is_there", [True, False])
def test_fonts_are_found_as_the_system_does_or_in_its_folders(tmp_path, is_there):
    """By a fontconfig that knows of the emoji alone, or where there is none."""
    fonts = next(path for path in FONT_PATHS if Path(path).is_file())
    config = tmp_path / "fonts.conf"
    config.write_text(
        f"<fontconfig><dir>{Path(fonts).parent}</dir>"
        f"<cachedir>{tmp_path}</cachedir></fontconfig>"
    )
    settings = {"FONTCONFIG_FILE": str(config)} if is_there else {"PATH": "/none"}
    result = subprocess.run(
        [sys.executable, "-c", ASKED],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    octopus, *others = eval(result.stdout)
    assert octopus is None
    if is_there:
        assert "sudo apt-get install fonts-noto-cjk fonts-noto-core" in others[0]
        assert others[1].count("語") == 1 and "core" not in others[1]
