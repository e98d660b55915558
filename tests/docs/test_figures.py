"""The figures in docs/emoji.md are those that the evaluation wrote."""

import json
from pathlib import Path

from keras_dalle.evaluation.emoji_retrieval import SplitResult, markdown_table

DOCS = Path(__file__).parents[2] / "docs"


def results():
    content = json.loads((DOCS / "emoji" / "results.json").read_text("utf-8"))
    return [SplitResult(**result) for result in content]


def test_emoji_table_is_that_of_the_results():
    assert markdown_table(results()) in (DOCS / "emoji.md").read_text("utf-8")


def test_promised_figures_are_reached():
    train, _, compositional_test = results()
    assert train.split == "train" and train.top_1 >= 0.60
    assert compositional_test.split == "compositional_test"
    assert compositional_test.top_10 >= 0.30
