"""`keras-dalle generate --best-of` on whole but untrained models."""

import numpy as np
import pytest
from PIL import Image

from keras_dalle.commands.ranking import Best, RankBy
from keras_dalle.generation.ranking import DEFAULT_RANKER, best_of
from keras_dalle.utils.picture_files import read_metadata
from tests.commands.command_line import run_command
from tests.tiny_clip import save_tiny_clip
from tests.tiny_preset import tiny_task


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets")
    tiny_task().save_to_preset(str(folder / "tiny"))
    save_tiny_clip(folder / "clip")
    return folder


@pytest.mark.parametrize("rank_by", RankBy)
def test_grid_of_the_best(folder, tmp_path, rank_by):
    options = ["--preset", folder / "tiny", "--best-of", 5, "--keep", 3, "--seed", 7]
    options += ["--rank-by", rank_by, "--temperature", 2]
    clip = folder / "clip" if rank_by is RankBy.CLIP else None
    options += ["--clip", clip] if clip else []
    path = tmp_path / "grid.png"
    result = run_command(
        "generate", "red heart", "sun", "-o", path, "--no-labels", *options
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(path)
    ranked = best_of(
        tiny_task(),
        ["red heart", "sun"],
        5,
        3,
        Best(5, 3, rank_by, clip).load_ranker(),
        seed=7,
        temperature=2.0,
    )
    grid = np.asarray(Image.open(path))
    assert grid.shape == (8 + 2 * 16, 8 + 3 * 16, 3)
    cells = [grid[y : y + 8, x : x + 8] for y in (8, 24) for x in (8, 24, 40)]
    np.testing.assert_array_equal(cells, ranked.images.reshape(6, 8, 8, 3))


def test_the_best_are_named_and_can_be_made_again(folder, tmp_path):
    path = tmp_path / "grid.png"
    options = ["--best-of", 4, "--keep", 2, "--rank-by", "pmi", "--seed", 0]
    result = run_command(
        "generate", "sun", "-o", path, "--preset", folder / "tiny", *options
    )
    task = tiny_task()
    ranked = best_of(task, "sun", 4, 2, "pmi", seed=0)
    for seed, score in zip(ranked.seeds, ranked.scores, strict=True):
        assert f"sun, seed {seed}: {score:.4g}" in result.stderr
    pictures = read_metadata(path).pictures
    assert [row.parameters["seed"] for row in pictures] == ranked.seeds.tolist()


def test_the_default_is_that_of_python():
    assert Best().load_ranker() == DEFAULT_RANKER


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--best-of", 2, "--keep", 3],
            "`--keep` (=3) must be at most `--best-of` (=2)",
        ),
        (
            ["--best-of", 4, "--num-images", 2],
            "`--num-images` does not go with `--best-of`",
        ),
        (["--best-of", 4, "--rank-by", "clip"], "`--clip PRESET` need each other"),
        (["--best-of", 4, "--clip", "x"], "`--clip PRESET` need each other"),
        (["--keep", 2], "`--keep` goes with `--best-of`"),
        (
            ["--best-of", 4, "--rank-by", "clip", "--clip", "klip"],
            "must be a preset of KerasHub's CLIP",
        ),
    ],
)
def test_options_that_do_not_go_together(folder, tmp_path, options, message):
    path = tmp_path / "grid.png"
    result = run_command(
        "generate", "sun", "-o", path, "--preset", folder / "tiny", *options
    )
    assert result.exit_code == 1
    assert message in result.stderr and "Traceback" not in result.stderr
    assert not path.exists()
