"""The figures in docs/emoji.md are those that the evaluation wrote."""

import json
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_emoji_table_is_that_of_the_results():
    text = (DOCS / "emoji.md").read_text("utf-8")
    results = json.loads((DOCS / "emoji" / "results.json").read_text("utf-8"))
    assert [result["split"] for result in results] == [
        "train",
        "validation",
        "compositional_test",
    ]
    for result in results:
        shares = ("top_1", "top_5", "top_10", "reconstruction_top_1")
        cells = [
            result["split"].replace("_", " "),
            f"{result['prompts']:,}",
            *(f"{result[share]:.1%}" for share in shares),
        ]
        assert f"| {' | '.join(cells)} |" in text


def test_promised_figures_are_reached():
    results = json.loads((DOCS / "emoji" / "results.json").read_text("utf-8"))
    by_split = {result["split"]: result for result in results}
    assert by_split["train"]["top_1"] >= 0.60
    assert by_split["compositional_test"]["top_10"] >= 0.30
