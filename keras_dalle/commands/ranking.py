"""`keras-dalle generate --best-of`: draw many pictures a prompt, show the best."""

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import track

from keras_dalle.commands.progress import console, step

if TYPE_CHECKING:
    from keras_dalle.commands.folders import Request


class RankBy(StrEnum):
    """Who says which picture is better."""

    LIKELIHOOD = "likelihood"
    PMI = "pmi"
    CLIP = "clip"


DEFAULT = RankBy.LIKELIHOOD

BestOf = Annotated[
    int | None,
    typer.Option(min=1, help="Draw this many pictures a prompt and keep the best."),
]
Keep = Annotated[int, typer.Option(min=1, help="Of --best-of: how many to keep.")]
RankByOption = Annotated[
    RankBy,
    typer.Option(
        help="Of --best-of: the model's own likelihood of the picture, what the prompt "
        "adds to that (pmi), or CLIP."
    ),
]
Clip = Annotated[
    str | None,
    typer.Option(help="For --rank-by clip: KerasHub's name, folder or handle of one."),
]


def check_options(
    best_of: int | None, keep: int, num_images: int, rank_by: RankBy, clip: str | None
) -> None:
    """Raises `ValueError` where the options do not go together."""
    if (rank_by is RankBy.CLIP) != (clip is not None):
        raise ValueError(
            "`--rank-by clip` and `--clip PRESET` need each other. Received: "
            f"--rank-by {rank_by}, --clip {clip}."
        )
    if best_of is None:
        if keep != 1:
            raise ValueError(
                f"`--keep` goes with `--best-of`. Received: --keep {keep} alone."
            )
        return
    if keep > best_of:
        raise ValueError(
            f"`--keep` (={keep}) must be at most `--best-of` (={best_of})."
        )
    if num_images != 1:
        raise ValueError(
            "`--num-images` does not go with `--best-of`: `--keep` says how many "
            f"pictures a prompt are shown. Received: --num-images {num_images}."
        )


def load_ranker(rank_by: RankBy, clip: str | None) -> Any:
    """What `best_of` takes as its ranker."""
    if rank_by is RankBy.CLIP:
        with step(f"Loading {clip}"):
            from keras_dalle.evaluation.clip_score import ClipRanker

            return ClipRanker.from_preset(str(clip))
    return "log_likelihood" if rank_by is RankBy.LIKELIHOOD else str(rank_by)


def best_requests(
    task: Any, requests: "list[Request]", best_of: int, keep: int, ranker: Any
) -> "list[Request]":
    """Each request's best pictures, best first, as requests with their seeds.

    Prints the seeds and scores. The pictures are drawn again when they are written.
    """
    from keras_dalle.commands.drawing import given_images
    from keras_dalle.commands.grids import prompt_bytes
    from keras_dalle.generation import ranking

    best = []
    for request in track(requests, "Ranking", console=console):
        if request.fault:
            best.append(request)
            continue
        row = request.row
        inputs = {
            "prompts": prompt_bytes(row.prompt),
            "negative_prompts": prompt_bytes(row.negative_prompt),
        }
        arguments = {**row.parameters, **given_images([row])}
        ranked = ranking.best_of(task, inputs, best_of, keep, ranker, **arguments)
        for seed, score in zip(ranked.seeds.tolist(), ranked.scores, strict=True):
            typer.echo(f"{row.prompt}, seed {seed}: {score:.4g}", err=True)
            chosen = replace(row, parameters={**row.parameters, "seed": seed})
            best.append(replace(request, row=chosen))
    return best
