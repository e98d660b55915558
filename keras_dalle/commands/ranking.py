"""`--best-of` of `generate` and `client`: many pictures a prompt, the best shown."""

from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Best:
    """How many pictures a prompt are drawn to choose among.

    Attributes:
        best_of: that many; `None` where nothing is chosen.
        keep: how many are kept.
        rank_by: who chooses.
        clip: the preset, where that is CLIP.
    """

    best_of: int | None = None
    keep: int = 1
    rank_by: RankBy = DEFAULT
    clip: str | None = None

    def check(self, num_images: int) -> None:
        """Raises `ValueError` where the options do not go together."""
        if (self.rank_by is RankBy.CLIP) != (self.clip is not None):
            raise ValueError(
                "`--rank-by clip` and `--clip PRESET` need each other. Received: "
                f"--rank-by {self.rank_by}, --clip {self.clip}."
            )
        if self.best_of is None:
            if self.keep != 1:
                raise ValueError(
                    "`--keep` goes with `--best-of`. Received: --keep "
                    f"{self.keep} alone."
                )
            return
        if self.keep > self.best_of:
            raise ValueError(
                f"`--keep` (={self.keep}) must be at most `--best-of` "
                f"(={self.best_of})."
            )
        if num_images != 1:
            raise ValueError(
                "`--num-images` does not go with `--best-of`: `--keep` says how many "
                f"pictures a prompt are shown. Received: --num-images {num_images}."
            )

    def load_ranker(self) -> Any:
        """What `best_of` takes as its ranker."""
        if self.rank_by is RankBy.CLIP:
            with step(f"Loading {self.clip}"):
                from keras_dalle.evaluation.clip_score import ClipRanker

                return ClipRanker.from_preset(str(self.clip))
        is_default = self.rank_by is RankBy.LIKELIHOOD
        return "log_likelihood" if is_default else str(self.rank_by)


def best_requests(
    task: Any, requests: "list[Request]", wanted: Best, keep_going: bool
) -> "list[Request]":
    """Each request's best pictures, best first, as requests with their seeds.

    They are the requests themselves where nothing is chosen. Prints the seeds and
    scores. The pictures are drawn again when they are written.

    Args:
        task: a `DalleBartTextToImage`, or a `ServedModel`.
        requests: one a prompt.
        wanted: how many are drawn and kept.
        keep_going: whether a prompt that cannot be ranked is its own request's fault.
    """
    if wanted.best_of is None:
        return requests
    from keras_dalle.commands.folders import FAILURES

    ranker = wanted.load_ranker()
    best = []
    for request in track(requests, "Ranking", console=console):
        try:
            if request.fault:
                raise request.fault
            best += _best_of_one(task, request, wanted.best_of, wanted.keep, ranker)
        except FAILURES as error:
            if not keep_going:
                raise
            best.append(replace(request, fault=error))
    return best


def _best_of_one(
    task: Any, request: "Request", num_images: int, keep: int, ranker: Any
) -> "list[Request]":
    from keras_dalle.commands.drawing import given_images
    from keras_dalle.commands.grids import prompt_bytes
    from keras_dalle.generation.ranking import best_of

    row = request.row
    inputs = {
        "prompts": prompt_bytes(row.prompt),
        "negative_prompts": prompt_bytes(row.negative_prompt),
    }
    arguments = {**row.parameters, **given_images([row])}
    ranked = best_of(task, inputs, num_images, keep, ranker, **arguments)
    best = []
    for seed, score in zip(ranked.seeds.tolist(), ranked.scores, strict=True):
        typer.echo(f"{row.prompt}, seed {seed}: {score:.4g}", err=True)
        chosen = replace(row, parameters={**row.parameters, "seed": seed})
        best.append(replace(request, row=chosen))
    return best
