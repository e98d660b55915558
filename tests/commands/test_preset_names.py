"""Presets by name on the command line, without a network."""

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from keras_dalle.cli import app
from keras_dalle.commands.preset_names import preset_identity, shipped_presets
from keras_dalle.models import DalleBartBackbone, VQGANBackbone
from keras_dalle.utils.fingerprints import fingerprint_of_preset
from keras_dalle.utils.picture_metadata import PresetIdentity


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """The Hub is where nobody listens, and its cache is empty."""
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_all_presets_are_listed():
    output = run("presets").output
    for preset in (*DalleBartBackbone.presets, *VQGANBackbone.presets):
        assert preset in output
    assert "437,833,712" in output


@pytest.mark.parametrize("preset", ["dalle_mini", "dalle_mega", "hf://someone/model"])
def test_what_cannot_be_downloaded_is_one_message(no_network, tmp_path, preset):
    result = run("generate", "a cat", "--preset", preset, "-o", tmp_path / "x.png")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: `{preset}` must be downloaded")
    assert "hf download " in result.stderr
    assert "Traceback" not in result.stderr


def test_a_vqgan_draws_nothing():
    result = run("generate", "a cat", "--preset", "vqgan_imagenet_f16_16384")
    assert "Unknown preset: vqgan_imagenet_f16_16384" in result.stderr
    assert "For download: dalle_mini, dalle_mega" in result.stderr


def test_the_shipped_preset_is_known_by_its_name_and_files():
    folder = shipped_presets()["emoji_tiny"]
    sha256 = fingerprint_of_preset([folder])
    assert preset_identity("emoji_tiny") == PresetIdentity("emoji_tiny", sha256)
    assert preset_identity(str(folder)) == PresetIdentity("emoji_tiny", sha256)


def cache(root, repository, **files):
    """A repository in the Hub's cache, as its client lays it out."""
    folder = root / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("c0ffee")
    snapshot = folder / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    for name, text in files.items():
        (snapshot / f"{name}.json").write_text(text)
    return snapshot


def test_downloaded_presets_are_known_by_their_files(no_network, tmp_path):
    model = cache(tmp_path, "dalle-mini/dalle-mini", config="{}")
    vqgan = cache(tmp_path, "dalle-mini/vqgan_imagenet_f16_16384", config="{ }")
    both = fingerprint_of_preset([model, vqgan])
    assert preset_identity("dalle_mini") == PresetIdentity("dalle_mini", both)
    mine = cache(tmp_path, "someone/model", config="[]")
    alone = fingerprint_of_preset([mine])
    assert preset_identity("hf://someone/model").sha256 == alone
    assert preset_identity("kaggle://someone/model").sha256 is None
