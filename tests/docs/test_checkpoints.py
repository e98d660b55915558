"""docs/checkpoints.md names every published preset and every field of config.json."""

from pathlib import Path

import pytest

from keras_dalle.converters import dalle_bart_config
from keras_dalle.models import DalleBartBackbone, VQGANBackbone

TEXT = (Path(__file__).parents[2] / "docs" / "checkpoints.md").read_text("utf-8")
PUBLISHED = {
    name: fields
    for name, fields in {**DalleBartBackbone.presets, **VQGANBackbone.presets}.items()
    if fields["kaggle_handle"].startswith("hf://")
}
FIELDS = {
    **dalle_bart_config._REQUIRED,
    **dalle_bart_config._OPTIONAL,
    **dalle_bart_config._VARIANT,
    **dalle_bart_config._FIXED,
    **dict.fromkeys(dalle_bart_config._READ),
}


@pytest.mark.parametrize("preset", PUBLISHED)
def test_presets(preset):
    handle = PUBLISHED[preset]["kaggle_handle"].removeprefix("hf://")
    count = PUBLISHED[preset]["metadata"]["params"]
    (row,) = [line for line in TEXT.splitlines() if f"| `{preset}` |" in line]
    assert f"`{handle}`" in row
    assert f"{count:,}" in row


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_fields(field):
    assert f"`{field}`" in TEXT


@pytest.mark.parametrize("argument", sorted(dalle_bart_config._VARIANT.values()))
def test_arguments_of_the_variant(argument):
    assert f"`{argument}`" in TEXT
