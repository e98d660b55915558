"""Presets by name on the command line, without a network."""

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from keras_dalle.cli import app
from keras_dalle.models import DalleBartBackbone, VQGANBackbone


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
    assert "To be downloaded: dalle_mini, dalle_mega" in result.stderr
