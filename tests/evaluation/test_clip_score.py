"""CLIP's similarities, on random weights: KerasHub's, by hand, and from a preset."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from huggingface_hub import constants

from keras_dalle.evaluation.clip_score import ClipRanker, _unreachable
from keras_dalle.utils.hub import HubError
from tests.tiny_clip import (
    IMAGE_SIZE,
    MEAN,
    STD,
    TEXT_LENGTH,
    VOCABULARY,
    save_tiny_clip,
    tiny_clip,
)
from tests.tiny_preset import tiny_task

PROMPTS = ["Red sun", "a cat", "", "x" * 100]
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3)).astype("uint8")


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip") / "tiny"
    save_tiny_clip(folder)
    return folder


@pytest.fixture(scope="module")
def ranker(preset):
    return ClipRanker.from_preset(preset)


def token_ids(*tokens):
    """As CLIP packs them: start, end, and zeros."""
    ids = [VOCABULARY[t] for t in ["<|startoftext|>", *tokens, "<|endoftext|>"]]
    return ids + [0] * (TEXT_LENGTH - len(ids))


TOKEN_IDS = [
    token_ids("red</w>", "s", "u", "n</w>"),
    token_ids("a</w>", "c", "a", "t</w>"),
    token_ids(),
    token_ids(*"x" * (TEXT_LENGTH - 2)),
]


def unit_length(x_BE):
    return x_BE / np.linalg.norm(x_BE, axis=1, keepdims=True)


def test_similarity_by_hand(ranker):
    backbone = ranker.backbone
    pixels = (IMAGES / 255 - MEAN) / STD
    vision_BPD = backbone.vision_encoder({"images": pixels.astype("float32")})
    text_BSD = backbone.text_encoder({"token_ids": np.array(TOKEN_IDS)})
    end_B = [ids.index(VOCABULARY["<|endoftext|>"]) for ids in TOKEN_IDS]
    assert end_B == [5, 5, 1, TEXT_LENGTH - 1]
    image_BE = vision_BPD[:, 0] @ backbone.vision_projection.kernel
    text_BE = np.asarray(text_BSD)[range(4), end_B] @ backbone.text_projection.kernel
    expected = np.sum(unit_length(image_BE) * unit_length(text_BE), axis=1)
    similarities = ranker(PROMPTS, IMAGES)
    assert similarities.dtype == np.float32 and np.ptp(similarities) > 0.1
    np.testing.assert_allclose(similarities, expected, atol=1e-5)


def test_is_the_diagonal_of_the_logits_of_keras_hub(ranker):
    inputs = ranker.preprocessor({"prompts": PROMPTS, "images": IMAGES})
    logits = ranker.backbone({k: inputs[k] for k in ("images", "token_ids")})
    scale = np.exp(ranker.backbone.clip_head.logit_scale)
    np.testing.assert_allclose(
        ranker(PROMPTS, IMAGES), np.diag(logits["vision_logits"]) / scale, atol=1e-5
    )


def test_weights_are_those_of_the_preset(ranker):
    np.testing.assert_allclose(
        ranker(PROMPTS, IMAGES), ClipRanker(*tiny_clip())(PROMPTS, IMAGES), atol=1e-6
    )


def test_pictures_of_another_size_are_resized(ranker):
    large = np.repeat(np.repeat(IMAGES[:1], 4, axis=1), 4, axis=2)
    assert ranker(PROMPTS[:1], large).shape == (1,)
    plain = np.full((1, 32, 32, 3), 77, "uint8")
    np.testing.assert_allclose(
        ranker(PROMPTS[:1], plain),
        ranker(PROMPTS[:1], plain[:, :IMAGE_SIZE, :IMAGE_SIZE]),
        atol=1e-5,
    )


def test_many_rows_and_none(ranker):
    together = ranker(PROMPTS * 10, np.tile(IMAGES, (10, 1, 1, 1)))
    np.testing.assert_allclose(
        together, np.tile(ranker(PROMPTS, IMAGES), 10), atol=1e-5
    )
    assert ranker([], IMAGES[:0]).shape == (0,)


def test_prompts_are_bytes_too(ranker):
    np.testing.assert_array_equal(
        ranker([b"a cat", b"\xff\xfe"], IMAGES[:2]),
        ranker(["a cat", "\ufffd\ufffd"], IMAGES[:2]),
    )


def test_one_prompt_a_picture(ranker):
    with pytest.raises(ValueError, match=r"one prompt a picture \(=4\). Received: 2"):
        ranker(PROMPTS[:2], IMAGES)


# === Presets ===


def test_preset_of_another_model(tmp_path):
    tiny_task().save_to_preset(str(tmp_path))
    with pytest.raises(ValueError, match="preset of KerasHub's CLIP: .*DalleBart"):
        ClipRanker.from_preset(tmp_path)


def test_folder_of_transformers(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(ValueError, match="preset of KerasHub's CLIP: "):
        ClipRanker.from_preset(tmp_path)


@pytest.mark.parametrize("name", ["image_converter.json", "tokenizer.json"])
def test_a_missing_file_is_named(preset, tmp_path, name):
    folder = tmp_path / "clip"
    shutil.copytree(preset, folder)
    (folder / name).unlink()
    (folder / "preprocessor.json").unlink()
    with pytest.raises(ValueError, match=f"preset of KerasHub's CLIP: .*{name}"):
        ClipRanker.from_preset(folder)


def test_unknown_name():
    with pytest.raises(ValueError, match="one of clip_vit_base_patch16, .*: klip"):
        ClipRanker.from_preset("klip")


def test_without_an_image_converter():
    backbone, preprocessor = tiny_clip()
    preprocessor.image_converter = None
    with pytest.raises(ValueError, match=r"to the \(8, 8\) pixels .* Received: None"):
        ClipRanker(backbone, preprocessor)


def test_converter_of_another_size():
    backbone, preprocessor = tiny_clip()
    preprocessor.image_size = (16, 16)
    with pytest.raises(ValueError, match=r"Received: \(16, 16\)"):
        ClipRanker(backbone, preprocessor)


def test_the_hub_is_absent(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(HubError, match="`hf://some/clip` must be downloaded"):
        ClipRanker.from_preset("hf://some/clip")


def test_kaggle_is_absent(monkeypatch, tmp_path):
    # Nobody listens at port 80 of this machine, and the cache is empty.
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    name = "clip_vit_base_patch32"
    with pytest.raises(HubError, match=f"`{name}` must be downloaded") as caught:
        ClipRanker.from_preset(name)
    assert "use the folder downloads/clip in place of" in str(caught.value)


def test_the_remedy_makes_a_preset(preset, ranker, tmp_path):
    message = _unreachable(str(preset), OSError("no network"))
    (command,) = re.findall(r'python -c "(.*)"', message)
    subprocess.run([sys.executable, "-c", command], cwd=tmp_path, check=True)
    copy = ClipRanker.from_preset(tmp_path / "downloads" / "clip")
    np.testing.assert_array_equal(copy(PROMPTS, IMAGES), ranker(PROMPTS, IMAGES))
