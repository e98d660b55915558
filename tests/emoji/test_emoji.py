"""Rendering the emoji of a colour font, and their CLDR names."""

import numpy as np
import pytest
from PIL import Image, ImageFont, features

from keras_dalle.data import emoji as emoji_data
from keras_dalle.data.emoji import (
    caption_of,
    check_shaping,
    find_font,
    fully_qualified_sequences,
    render_emoji,
)
from tests.fonts import needs_font

# Names as in Unicode's emoji-test.txt, which the CLDR names come from.
CLDR_NAMES = {
    "❤️": "red heart",
    "👩🏿‍🚒": "woman firefighter: dark skin tone",
    "🧑🏼": "person: medium-light skin tone",
    "👨🏾‍🦲": "man: medium-dark skin tone, bald",
    "👩‍🦰": "woman: red hair",
    "👱🏽‍♀️": "woman: medium skin tone, blond hair",
    "🧔‍♂️": "man: beard",
    "🧔🏿": "person: dark skin tone, beard",
    "🏃🏻‍♀️‍➡️": "woman running facing right: light skin tone",
    "👩🏻‍🤝‍👨🏿": "woman and man holding hands: light skin tone, dark skin tone",
    "🫱🏾‍🫲🏽": "handshake: medium-dark skin tone, medium skin tone",
    "👩‍❤️‍💋‍👨": "kiss: woman, man",
    "👨🏿‍❤️‍👨🏻": "couple with heart: man, man, dark skin tone, light skin tone",
    "💏🏽": "kiss: medium skin tone",
    "👨‍👩‍👧‍👦": "family: man, woman, girl, boy",
    "🇩🇪": "flag: Germany",
    "🏴󠁧󠁢󠁳󠁣󠁴󠁿": "flag: Scotland",
    "🏴‍☠️": "pirate flag",
    "#️⃣": "keycap: #",
    "🔟": "keycap: 10",
    "🈁": "Japanese “here” button",
    "🏯": "Japanese castle",
    "🤰🏻": "pregnant woman: light skin tone",
    "😗": "kissing face",
    "💋": "kiss mark",
}


@pytest.fixture
def chosen_sequences(monkeypatch):
    """Lets a test render a few emoji instead of all."""

    def choose(*sequences):
        monkeypatch.setattr(
            emoji_data, "fully_qualified_sequences", lambda: list(sequences)
        )

    return choose


@pytest.mark.parametrize("sequence", CLDR_NAMES, ids=CLDR_NAMES.get)
def test_caption_is_the_cldr_name(sequence):
    assert caption_of(sequence) == CLDR_NAMES[sequence]


def test_captions_are_unique_and_free_of_markup():
    captions = [caption_of(sequence) for sequence in fully_qualified_sequences()]
    assert len(captions) > 3900
    assert len(set(captions)) == len(captions)
    assert not [text for text in captions if "_" in text or text != text.strip(" :")]


def test_every_skin_tone_is_a_qualifier():
    captions = [caption_of(sequence) for sequence in fully_qualified_sequences()]
    toned = [text for text in captions if "skin tone" in text]
    assert len(toned) > 1900
    assert all("skin tone" not in text.split(": ")[0] for text in toned)


@needs_font
def test_picture_is_fitted_in_a_white_square(chosen_sequences):
    chosen_sequences("❤️", "👩🏿‍🚒")
    pictures = render_emoji(image_size=32)
    assert pictures.captions == ["red heart", "woman firefighter: dark skin tone"]
    assert pictures.sequences == ["❤️", "👩🏿‍🚒"]
    assert pictures.images.shape == (2, 32, 32, 3)
    assert pictures.images.dtype == np.uint8
    heart = pictures.images[0].astype(int)
    assert (heart[0, 0] == 255).all()
    red, green, blue = heart[16, 16]
    assert red > 180 and green < 100 and blue < 100


@needs_font
def test_rejects_what_is_not_one_glyph_missing_or_a_repetition(chosen_sequences):
    two_glyphs, not_in_font = "😀😀", "\U0010ffff"
    chosen_sequences("😀", two_glyphs, not_in_font, "🇳🇴", "🇸🇯")
    pictures = render_emoji(image_size=16)
    assert pictures.captions == ["grinning face", "flag: Norway"]
    assert pictures.report == emoji_data.RenderReport(2, 1, 1, 1)


@needs_font
def test_all_emoji_are_rendered_once_and_alike_each_time(chosen_sequences):
    pictures = render_emoji(image_size=16)
    report = pictures.report
    assert report.rendered == len(pictures.images) == len(set(pictures.captions))
    assert report.rendered > 3500
    assert report.rendered + report.rejected_multiple_glyphs + (
        report.rejected_missing + report.rejected_duplicates
    ) == len(fully_qualified_sequences())
    some = slice(0, 400, 20)
    chosen_sequences(*pictures.sequences[some])
    np.testing.assert_array_equal(
        render_emoji(image_size=16).images, pictures.images[some]
    )


def test_missing_font_says_how_to_get_one(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="apt-get install.*noto-color-emoji"):
        find_font(tmp_path / "none.ttf")
    monkeypatch.setattr(emoji_data, "FONT_PATHS", (str(tmp_path / "absent.ttf"),))
    with pytest.raises(FileNotFoundError, match="absent.ttf.*apt-get install"):
        find_font()


@pytest.mark.parametrize("library", ["raqm", "fribidi"])
def test_missing_shaping_library_says_how_to_get_it(library, monkeypatch):
    monkeypatch.setattr(features, "check", lambda name: name != library)
    with pytest.raises(RuntimeError, match=f"{library}.*apt-get install"):
        check_shaping()


@needs_font
def test_font_without_colours_is_refused(tmp_path):
    font = tmp_path / "text.ttf"
    font.write_bytes(ImageFont.load_default(size=20).font_bytes)
    with pytest.raises(ValueError, match="colour bitmap font.*text.ttf"):
        render_emoji(font=font)
    font.write_bytes(b"no font")
    with pytest.raises(ValueError, match="colour bitmap font.*text.ttf"):
        render_emoji(font=font)


def test_image_size_must_be_positive():
    with pytest.raises(ValueError, match="`image_size` must be positive"):
        render_emoji(image_size=0)


@needs_font
def test_pictures_are_drawn_at_any_size(chosen_sequences):
    chosen_sequences("🦊")
    large = Image.fromarray(render_emoji(image_size=96).images[0])
    small = render_emoji(image_size=24).images[0]
    shrunk = np.asarray(large.resize((24, 24), Image.Resampling.LANCZOS))
    assert np.abs(shrunk.astype(int) - small).mean() < 4
