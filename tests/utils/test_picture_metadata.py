"""What pictures say of themselves: read as it was written, and checked."""

import json
import os
import subprocess
import sys

import pytest

from keras_dalle.utils.picture_metadata import (
    MAX_PICTURES,
    MAX_PROMPT_CHARACTERS,
    GridLayout,
    MetadataError,
    PictureMetadata,
    PictureRow,
    PresetIdentity,
)

SHA = "0123456789abcdef" * 4
ODD_TEXTS = ["", "red heart", "❤️ “日本” \x00\n\\", os.fsdecode(b"red \xff\xfe")]
PARAMETERS = {"seed": -(2**63), "guidance_scale": 0.1, "something_new": 3}


def metadata_of(*prompts, **changes):
    rows = [PictureRow(prompt, "fog", PARAMETERS, SHA) for prompt in prompts]
    fields = {
        "pictures": rows,
        "preset": PresetIdentity("emoji_tiny", SHA),
        "grid": GridLayout(2, True),
        "version": "0.1.0",
    }
    return PictureMetadata(**{**fields, **changes})


@pytest.mark.parametrize("ascii_only", [False, True])
def test_what_is_written_is_read(ascii_only):
    metadata = metadata_of(*ODD_TEXTS)
    text = metadata.to_json(ascii_only)
    text.encode("ascii" if ascii_only else "utf-8")
    assert PictureMetadata.from_json(text) == metadata
    read = [row.pixels_sha256 for row in PictureMetadata.from_json(text).pictures]
    assert read == [SHA] * len(ODD_TEXTS)


def test_known_tokens_are_read_and_tell_pictures_apart():
    rows = [PictureRow("x", "", PARAMETERS, SHA, tokens) for tokens in ([3, -1], None)]
    metadata = metadata_of("x", pictures=rows)
    read = PictureMetadata.from_json(metadata.to_json())
    assert [row.known_tokens for row in read.pictures] == [(3, -1), None]
    assert read == metadata
    assert rows[0] != rows[1]


def test_format_1_is_read():
    """As keras_dalle 0.1.0 wrote it before there were known tokens."""
    text = (
        '{"keras_dalle": "0.1.0", "format": 1, "preset": {"name": "emoji_tiny", '
        f'"sha256": "{SHA}"}}, "grid": null, "pictures": [{{"prompt": "sun", '
        '"negative_prompt": "", "parameters": {"seed": 1, "top_p": 1.0}, '
        f'"pixels_sha256": "{SHA}"}}]}}'
    )
    (row,) = PictureMetadata.from_json(text).pictures
    assert row == PictureRow("sun", "", {"seed": 1, "top_p": 1.0})


def test_numbers_stay_what_they_were():
    (row,) = PictureMetadata.from_json(metadata_of("x").to_json()).pictures
    assert {name: repr(x) for name, x in row.parameters.items()} == {
        "seed": "-9223372036854775808",
        "guidance_scale": "0.1",
        "something_new": "3",
    }


def test_text_is_readable_utf_8():
    assert "❤️" in metadata_of("❤️").to_json()


def test_fingerprints_of_pixels_ask_for_nothing():
    undrawn = metadata_of("x", pictures=[PictureRow("x", "fog", PARAMETERS)])
    assert metadata_of("x").asks_the_same(undrawn)


@pytest.mark.parametrize(
    "other",
    [
        metadata_of("y"),
        metadata_of("x", pictures=[PictureRow("x", "", PARAMETERS)]),
        metadata_of("x", pictures=[PictureRow("x", "fog", {**PARAMETERS, "seed": 1})]),
        metadata_of("x", pictures=[PictureRow("x", "fog", {"seed": -(2**63)})]),
        metadata_of("x", pictures=[PictureRow("x", "fog", PARAMETERS, SHA, [1])]),
        metadata_of("x", preset=PresetIdentity("emoji_tiny", "0" * 64)),
        metadata_of("x", preset=PresetIdentity("other", None)),
        metadata_of("x", grid=None),
    ],
)
def test_each_input_tells_pictures_apart(other):
    assert not metadata_of("x").asks_the_same(other)


def test_a_preset_is_known_by_its_files_and_else_by_its_name():
    assert PresetIdentity("a", SHA).is_same_model(PresetIdentity("b", SHA))
    assert PresetIdentity("a", None).is_same_model(PresetIdentity("a", None))
    assert not PresetIdentity("a", None).is_same_model(PresetIdentity("b", None))
    assert not PresetIdentity("a", None).is_same_model(PresetIdentity("a", SHA))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: PictureRow(1, "", {}), "`prompt` must be a text"),
        (
            lambda: PictureRow("x" * (MAX_PROMPT_CHARACTERS + 1), "", {}),
            "at most 100,000 characters",
        ),
        (lambda: PictureRow("\ud800", "", {}), "must be Unicode, or undecoded bytes"),
        (lambda: PictureRow("", "", {"A b": 1}), "name must be of lower-case letters"),
        (lambda: PictureRow("", "", {1: 1}), "name must be of lower-case letters"),
        (lambda: PictureRow("", "", {"seed": 2**63}), "`seed` must be a finite number"),
        (lambda: PictureRow("", "", {"x": True}), "`x` must be a finite number"),
        (lambda: PictureRow("", "", {"x": float("nan")}), "`x` must be a finite"),
        (lambda: PictureRow("", "", {"x": "1"}), "`x` must be a finite number"),
        (lambda: PictureRow("", "", []), "`parameters` must be at most 64 values"),
        (lambda: PictureRow("", "", {}, "abc"), "must be 64 hexadecimal digits"),
        (lambda: PictureRow("", "", {}, None, []), "must be a list of 1 to 16,384"),
        (lambda: PictureRow("", "", {}, None, "12"), "must be a list of 1 to 16,384"),
        (lambda: PictureRow("", "", {}, None, [0] * 16_385), "a list of 1 to 16,384"),
        (lambda: PictureRow("", "", {}, None, [-2]), "an int32 of at least -1"),
        (lambda: PictureRow("", "", {}, None, [2**31]), "an int32 of at least -1"),
        (lambda: PictureRow("", "", {}, None, [True]), "an int32 of at least -1"),
        (lambda: PresetIdentity("", None), "must be text, 1 to 500 characters"),
        (lambda: PresetIdentity("x", 5), "must be 64 hexadecimal digits"),
        (lambda: GridLayout(0, True), "`columns` must be an integer from 1"),
        (lambda: GridLayout(True, True), "`columns` must be an integer from 1"),
        (lambda: GridLayout(1, 1), "`labels` must be true or false"),
        (lambda: metadata_of(), "number of pictures in one file must be from 1"),
        (lambda: metadata_of(*"ab", grid=None), "must be from 1 to 1. Received: 2"),
        (lambda: metadata_of(*["x"] * (MAX_PICTURES + 1)), "from 1 to 1024"),
        (lambda: metadata_of("x", version="a b"), "version must be that of"),
    ],
)
def test_rules(make, message):
    with pytest.raises(MetadataError, match=message):
        make()


def changed(path, value):
    """The JSON of a good picture with one place changed; a missing value removes it."""
    content = json.loads(metadata_of("x").to_json())
    place = content
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "no valid JSON"),
        ("[" * 100_000, "no valid JSON"),
        ("[]", "lacks the field `keras_dalle`"),
        (changed(["keras_dalle"], ...), "lacks the field `keras_dalle`"),
        (
            changed(["format"], 3),
            "`format` must be 1 or 2. Received: 3, .*'0.1.0'. Use that",
        ),
        (changed(["format"], ...), "`format` must be 1 or 2. Received: None"),
        (changed(["format"], True), "`format` must be 1 or 2. Received: True"),
        (changed(["format"], 1), "a picture must have the fields .*known_tokens"),
        (changed(["pictures", 0, "known_tokens"], {}), "`known_tokens` must be a list"),
        (changed(["extra"], 1), "the metadata must have the fields .* 'extra, "),
        (changed(["preset", "extra"], 1), "`preset` must have the fields name, sha256"),
        (changed(["preset"], "x"), "`preset` must be a JSON object"),
        (changed(["grid", "columns"], 1e400), "`columns` must be an integer"),
        (changed(["grid"], []), "`grid` must be a JSON object"),
        (changed(["pictures"], {}), "`pictures` must be a list"),
        (changed(["pictures", 0], None), "a picture must be a JSON object"),
        (changed(["pictures", 0, "prompt"], ...), "a picture must have the fields"),
        (changed(["pictures", 0, "extra"], 1), "a picture must have the fields"),
        (changed(["pictures", 0, "parameters", "x"], None), "`x` must be a finite"),
        (changed(["pictures", 0, "parameters", "x"], [[1]]), "`x` must be a finite"),
        (changed(["keras_dalle"], 1), "version must be that of a Python package"),
        (" " * (2**24 + 1), "at most 16,777,216 characters"),
    ],
)
def test_what_comes_from_outside_is_checked(text, message):
    with pytest.raises(MetadataError, match=message):
        PictureMetadata.from_json(text)


def test_messages_are_short():
    with pytest.raises(MetadataError) as caught:
        PictureMetadata.from_json(changed(["pictures", 0, "prompt"], ["x" * 10**6]))
    assert len(str(caught.value)) < 300


def test_it_needs_no_numpy_and_no_tensorflow():
    code = (
        "import sys, keras_dalle.utils.picture_metadata\n"
        "print(sorted({'tensorflow', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
