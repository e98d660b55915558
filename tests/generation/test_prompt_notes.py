"""Warnings of prompts: weights that may be text, and where a prompt is cut."""

import warnings

import pytest

from keras_dalle.generation.beam_search import beam_search
from keras_dalle.generation.prompt_notes import (
    PromptWarning,
    notes_of_cuts,
    notes_of_weights,
)
from tests.tiny_preset import tiny_task

LONG = "a red kite above the sea and a small boat with white sails far away from land"


@pytest.fixture(scope="module")
def task():
    return tiny_task()


def test_weights_that_were_read_are_told():
    prompts = ["bus at 9:15 AND rain :0.5", "a", b"x AND y", "x AND ", "x AND y"]
    notes = notes_of_weights(prompts, all_of_them=True)
    assert notes == [
        "The prompt 'bus at 9:15 AND rain :0.5' has parts: 'bus at 9' with weight 15, "
        r"'rain' with weight 0.5. If `:15` is text, write `\:15`.",
        "The prompt 'x AND y' has parts: 'x' with weight 1, 'y' with weight 1.",
    ]
    assert notes_of_weights(prompts, all_of_them=False) == notes[:1]
    for meant in (r"bus at 9\:15 AND rain", "rain:0.5 AND sun:2", "bus at 9:15"):
        assert notes_of_weights([meant], all_of_them=False) == []


def test_a_cut_is_told_with_its_place(task):
    (note,) = notes_of_cuts(task.preprocessor, [LONG, "a kite", "", LONG])
    assert note.endswith(
        "cut behind `a red kite above the sea and`; left out: "
        "`a small boat with white sails far away...`. Shorten it."
    )
    ((kept, left_out),) = task.preprocessor.kept_and_left_out([LONG])
    assert kept + left_out == LONG
    ids = task.preprocessor.generate_preprocess([kept, LONG])["encoder_token_ids"]
    assert (ids[0] == ids[1]).numpy().all()
    # As many tokens as are read, to the last.
    assert notes_of_cuts(task.preprocessor, [kept]) == []
    # Each part is read by itself.
    halves = f"{LONG[:20]} AND {LONG[20:40]}"
    assert notes_of_cuts(task.preprocessor, [halves]) == []


def test_python_warns(task):
    with pytest.warns(PromptWarning, match="cut behind .* Also 1 more"):
        task.generate({"prompts": [LONG, "a"], "negative_prompts": "not " + LONG})
    with pytest.warns(PromptWarning, match=r"'3' with weight 2.* write `\\:2`"):
        task.generate("3:2 AND a goal")
    with pytest.warns(PromptWarning, match="cut behind"):
        task.score({"prompts": LONG, "image_tokens": [[0] * 16]})
    with pytest.warns(PromptWarning, match="cut behind"):
        beam_search(task, LONG, num_beams=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", PromptWarning)
        task.generate("a kite:1.5 AND the sea")
