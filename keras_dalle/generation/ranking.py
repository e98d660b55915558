"""Best of many: draw more pictures a prompt than are wanted, and keep the best.

A ranker is any function that scores pictures for their prompts. Two need nothing but
the model that draws; the original's demo asked CLIP.
"""

# B prompts, N pictures a prompt, M = B * N, K kept, H height, W width, T image tokens

import dataclasses
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_dalle.generation.prompt_inputs import text_rows
from keras_dalle.generation.scoring import SCORING_MODES
from keras_dalle.utils.foreign_values import shortened
from keras_dalle.utils.plain_values import count, integers

# (prompts [M], images uint8 [M, H, W, 3], image_tokens int32 [M, T]) -> float [M],
# where more is better.
Ranker = Callable[[Sequence[Any], np.ndarray, np.ndarray], np.ndarray]

# The better of both on emoji: docs/generation.md
DEFAULT_RANKER = "log_likelihood"


@dataclasses.dataclass(frozen=True)
class Ranked:
    """The kept pictures of B prompts, best first; without B where the prompt was one.

    Attributes:
        images: uint8 [B, K, H, W, 3].
        scores: float32 [B, K], of the ranker; more is better.
        seeds: int64 [B, K]. `generate` draws the picture again from its seed.
    """

    images: np.ndarray
    scores: np.ndarray
    seeds: np.ndarray


def best_of(
    text_to_image: Any,
    inputs: Any,
    num_images: int = 16,
    keep: int = 4,
    ranker: str | Ranker = DEFAULT_RANKER,
    seed: Any = None,
    **parameters: Any,
) -> Ranked:
    """Draws `num_images` pictures a prompt and keeps the `keep` best, in order.

    Of equal scores the picture drawn first is the better one, and NaN is the worst.

    Args:
        text_to_image: a `DalleBartTextToImage`.
        inputs: a string, a list of strings or a dictionary, as `generate` takes.
        num_images: pictures to draw a prompt; picture i has the seed `seed + i`.
        keep: pictures to keep a prompt.
        ranker: a mode of `score`, `"log_likelihood"` or `"pmi"`, or a function of
            prompts, images and image tokens such as
            `keras_dalle.evaluation.clip_score.ClipRanker`.
        seed: int, or one a prompt. `None` draws one at random.
        **parameters: of `generate`.

    Raises:
        ValueError: `keep` is not between 1 and `num_images`, there is no such ranker,
            or it does not give one score a picture.
    """
    if count("keep", keep) > count("num_images", num_images):
        raise ValueError(
            f"`keep` (={keep}) must be at most `num_images` (={num_images})."
        )
    rank = ranker if callable(ranker) else model_ranker(text_to_image, ranker)
    rows, is_scalar = text_rows(inputs)
    prompts_B = rows["prompt"]
    seed = secrets.randbits(31) if seed is None else integers("seed", seed, np.int64)
    drawn = text_to_image.generate(
        {"prompts": prompts_B, "negative_prompts": rows["negative_prompt"]},
        num_images=num_images,
        seed=seed,
        return_tokens=True,
        **parameters,
    )
    images = drawn["images"].reshape(-1, *drawn["images"].shape[-3:])
    tokens_MT = drawn["image_tokens"].reshape(-1, drawn["image_tokens"].shape[-1])
    prompts_M = list(np.repeat(prompts_B, num_images))
    scores_M = np.asarray(rank(prompts_M, images, tokens_MT))
    if scores_M.shape != (len(images),):
        raise ValueError(
            f"A ranker must give one score a picture, [{len(images)}]. Received: "
            f"{list(scores_M.shape)}."
        )
    scores_BN = scores_M.reshape(len(prompts_B), num_images).astype(np.float32)
    chosen_BK = best_first(scores_BN)[:, :keep]
    rows_B1 = np.arange(len(prompts_B))[:, None]
    ranked = Ranked(
        images=images.reshape(*scores_BN.shape, *images.shape[1:])[rows_B1, chosen_BK],
        scores=scores_BN[rows_B1, chosen_BK],
        seeds=np.broadcast_to(seed, len(prompts_B))[:, None] + chosen_BK,
    )
    if is_scalar:
        ranked = Ranked(ranked.images[0], ranked.scores[0], ranked.seeds[0])
    return ranked


def best_first(scores_BN: np.ndarray) -> np.ndarray:
    """Places of the scores from the highest to the lowest, int [B, N].

    Of equal ones the earlier comes first, and NaN comes last.
    """
    return np.argsort(-scores_BN, axis=1, kind="stable")


def model_ranker(text_to_image: Any, scoring_mode: str) -> Ranker:
    """Ranks by the model's own `score` of the tokens that it drew.

    The tokens of the picture itself would be others: the VQGAN does not give back what
    it was given.
    """
    if scoring_mode not in list(SCORING_MODES):
        raise ValueError(
            f"`ranker` must be one of {', '.join(SCORING_MODES)}, or a function. "
            f"Received: {shortened(scoring_mode)}."
        )

    def rank(prompts, images, image_tokens):
        return text_to_image.score(
            {"prompts": prompts, "image_tokens": image_tokens},
            scoring_mode=scoring_mode,
        )

    return rank
