"""The shipped preset draws what the demo asks it for."""

import numpy as np
import pytest

from keras_dalle.commands.preset_names import shipped_presets
from keras_dalle.data.emoji import render_emoji
from keras_dalle.demo import DEFAULT_PROMPTS
from keras_dalle.evaluation.retrieval import rank_by_rgb_distance
from keras_dalle.generation.compiled_steps import compiled_steps
from keras_dalle.models import DalleBartTextToImage
from tests.fonts import needs_font


@pytest.fixture(scope="module")
def text_to_image():
    return DalleBartTextToImage.from_preset("emoji_tiny")


def test_size():
    files = [p for p in shipped_presets()["emoji_tiny"].rglob("*") if p.is_file()]
    assert sum(file.stat().st_size for file in files) < 16e6


@needs_font
def test_nearest_true_picture_of_each_demo_prompt_is_the_one_asked_for(text_to_image):
    emoji = render_emoji(text_to_image.vqgan.image_size)
    targets = np.array([emoji.captions.index(prompt) for prompt in DEFAULT_PROMPTS])
    drawn = text_to_image.generate(list(DEFAULT_PROMPTS), seed=0)
    ranks = rank_by_rgb_distance(drawn, emoji.images, targets)
    assert dict(zip(DEFAULT_PROMPTS, ranks.tolist(), strict=True)) == dict.fromkeys(
        DEFAULT_PROMPTS, 1
    )


def test_same_pixels_twice_and_alone(text_to_image):
    prompts = ["red heart", "woman firefighter: dark skin tone"]
    together = text_to_image.generate(prompts, seed=1)
    np.testing.assert_array_equal(text_to_image.generate(prompts, seed=1), together)
    for prompt, picture in zip(prompts, together, strict=True):
        np.testing.assert_array_equal(text_to_image.generate(prompt, seed=1), picture)


@needs_font
def test_a_name_is_likelier_with_its_own_picture_than_with_another(text_to_image):
    emoji = render_emoji(text_to_image.vqgan.image_size)
    prompts = list(DEFAULT_PROMPTS)
    images = emoji.images[[emoji.captions.index(prompt) for prompt in prompts]]
    count = len(prompts)
    for scoring_mode in ("log_likelihood", "pmi"):
        scores = text_to_image.score(
            {
                "prompts": np.repeat(prompts, count),
                "images": np.tile(images, (count, 1, 1, 1)),
            },
            scoring_mode=scoring_mode,
        ).reshape(count, count)
        # A row a prompt: its own picture is on the diagonal.
        np.testing.assert_array_equal(scores.argmax(axis=1), np.arange(count))


def test_tokens_are_the_same_with_and_without_xla(text_to_image):
    prompts = ["red heart", "rocket:0.6 AND rainbow:0.4"] * 3
    asked_for = {"seed": [1, 1, 2, 2, 3, 3], "top_k": 0, "guidance_scale": 10.0}
    plain = text_to_image.generate(prompts, return_tokens=True, **asked_for)
    with compiled_steps():
        text_to_image.generate_function = None
        compiled = text_to_image.generate(prompts, return_tokens=True, **asked_for)
    text_to_image.generate_function = None
    assert plain["image_tokens"].shape == (6, 64)
    np.testing.assert_array_equal(compiled["image_tokens"], plain["image_tokens"])
