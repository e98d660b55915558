"""Requirements of tests that draw real emoji and letters."""

from pathlib import Path

import pytest
from PIL import ImageFont, features

from keras_dalle.data.emoji import FONT_PATHS

_has_shaping = features.check("raqm") and features.check("fribidi")


def _has_letters() -> bool:
    try:
        ImageFont.truetype("DejaVuSans.ttf", 13)
    except OSError:
        return False
    return True


needs_font = pytest.mark.skipif(
    not _has_shaping or not any(Path(path).is_file() for path in FONT_PATHS),
    reason="needs fonts-noto-color-emoji, libraqm0 and libfribidi0",
)
needs_letters = pytest.mark.skipif(
    not _has_shaping or not _has_letters(),
    reason="needs fonts-dejavu-core, libraqm0 and libfribidi0",
)
