"""How well a preset draws emoji: retrieval of the true picture among all."""

# N pictures of all splits, H height, W width

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
from rich.progress import track

from keras_dalle.data.emoji_dataset import emoji_split
from keras_dalle.data.emoji_split import SPLITS, VALIDATION
from keras_dalle.evaluation.retrieval import rank_by_rgb_distance, top_k_accuracy
from keras_dalle.utils.atomic import write_text
from keras_dalle.utils.images import image_grid
from keras_dalle.utils.picture_files import save_picture

ROWS_AT_ONCE = 64
GRID_ROWS = 24


@dataclasses.dataclass(frozen=True)
class SplitResult:
    """Retrieval figures of one split.

    Attributes:
        split: its name.
        prompts: number of prompts, each drawn once.
        top_1, top_5, top_10: share of the pictures whose true picture is among the
            first 1, 5, 10 of the gallery by RGB distance.
        reconstruction_top_1: the same for the true picture sent through the VQGAN
            alone: the limit that the VQGAN sets.
    """

    split: str
    prompts: int
    top_1: float
    top_5: float
    top_10: float
    reconstruction_top_1: float


def evaluate_emoji(
    text_to_image,
    data_directory: str | os.PathLike,
    output: str | os.PathLike | None = None,
) -> list[SplitResult]:
    """Draws every caption once and ranks all true pictures by RGB distance.

    Seed 0 and the default parameters. The gallery is the pictures of all splits.

    Args:
        text_to_image: a `DalleBartTextToImage` with a VQGAN.
        data_directory: the emoji data set, rendered there if it is missing.
        output: a folder for `results.json`, the same as a table in `results.md`, and
            grids of pictures beside the true ones: drawn, for each split, and sent
            through the VQGAN.

    Returns:
        One result a split.
    """
    splits = {split: emoji_split(data_directory, split) for split in SPLITS}
    gallery_NHWC = np.concatenate([images for _, images in splits.values()])
    _check_size(gallery_NHWC, text_to_image.vqgan.image_size, data_directory)
    results = []
    first = 0
    for split, (captions, images) in splits.items():
        targets = np.arange(first, first + len(captions))
        first += len(captions)
        drawn = _draw(text_to_image, captions, split)
        ranks = rank_by_rgb_distance(drawn, gallery_NHWC, targets)
        restored = _reconstruct(text_to_image.vqgan, images)
        restored_ranks = rank_by_rgb_distance(restored, gallery_NHWC, targets)
        results.append(
            SplitResult(
                split=split,
                prompts=len(captions),
                top_1=top_k_accuracy(ranks, 1),
                top_5=top_k_accuracy(ranks, 5),
                top_10=top_k_accuracy(ranks, 10),
                reconstruction_top_1=top_k_accuracy(restored_ranks, 1),
            )
        )
        if output is not None:
            folder = Path(output)
            _save_grid(folder / f"{split}.png", captions, images, drawn, "drawn")
            if split == VALIDATION:
                _save_grid(folder / "vqgan.png", captions, images, restored, "VQGAN")
    if output is not None:
        content = [dataclasses.asdict(result) for result in results]
        write_text(Path(output) / "results.json", json.dumps(content, indent=2) + "\n")
        write_text(Path(output) / "results.md", markdown_table(results))
    return results


def _check_size(gallery_NHWC, image_size, data_directory):
    if gallery_NHWC.shape[1] != image_size:
        raise ValueError(
            f"The pictures in {data_directory} must have the model's {image_size} "
            f"pixels a side. Received: {gallery_NHWC.shape[1]}. Run `keras-dalle "
            f"prepare-data --image-size {image_size} --data-dir` with a new folder."
        )


def _draw(text_to_image, captions, split):
    batches = [
        captions[i : i + ROWS_AT_ONCE] for i in range(0, len(captions), ROWS_AT_ONCE)
    ]
    pictures = [
        text_to_image.generate(batch, seed=0)
        for batch in track(batches, description=f"Drawing {split}")
    ]
    return np.concatenate(pictures)


def _reconstruct(vqgan, images):
    batches = np.array_split(images, -(-len(images) // ROWS_AT_ONCE))
    return np.concatenate(
        [np.asarray(vqgan.decode_images(vqgan.encode_images(x))) for x in batches]
    )


def _save_grid(path, captions, images, others, name):
    """Pairs of a true picture and the other one, evenly from the split."""
    rows = np.linspace(0, len(captions) - 1, GRID_ROWS).astype(int)
    pairs = np.stack([images[rows], others[rows]], axis=1)
    labels = [label for row in rows for label in (captions[row], name)]
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = pairs.reshape(-1, *images.shape[1:])
    save_picture(image_grid(pictures, columns=8, labels=labels), path)


def markdown_table(results: list[SplitResult]) -> str:
    """The results as a table in Markdown."""
    lines = [
        "| split | prompts | top-1 | top-5 | top-10 | VQGAN alone, top-1 |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        shares = (
            result.top_1,
            result.top_5,
            result.top_10,
            result.reconstruction_top_1,
        )
        cells = [
            result.split.replace("_", " "),
            f"{result.prompts:,}",
            *(f"{share:.1%}" for share in shares),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
