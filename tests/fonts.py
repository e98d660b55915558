"""What tests that draw real emoji need of the machine."""

from pathlib import Path

import pytest
from PIL import features

from keras_dalle.data.emoji import FONT_PATHS

needs_font = pytest.mark.skipif(
    not (features.check("raqm") and features.check("fribidi"))
    or not any(Path(path).is_file() for path in FONT_PATHS),
    reason="needs fonts-noto-color-emoji, libraqm0 and libfribidi0",
)
