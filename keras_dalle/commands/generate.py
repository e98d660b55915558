"""`keras-dalle generate`: pictures from a preset, in this process."""

from pathlib import Path
from typing import Annotated

import typer

from keras_dalle.commands import given_pictures, options, ranking, streaming
from keras_dalle.commands.given_pictures import GivenPicture, known_tokens_of
from keras_dalle.commands.outputs import output_of, write_pictures
from keras_dalle.commands.preset_names import check_preset, load_task, preset_identity
from keras_dalle.commands.progress import step


def generate(
    context: typer.Context,
    prompts: Annotated[list[str] | None, typer.Argument(help="Texts to draw.")] = None,
    output: options.PictureOutput = "grid.png",
    prompts_file: Annotated[
        Path | None,
        typer.Option(
            help="Prompts to draw into a folder: text, one a line, or .csv or .jsonl "
            "with the columns prompt, negative_prompt, name, image, mask, keep_rows, "
            "keep_fraction and any parameter."
        ),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="A shipped preset's name, or a preset's folder.")
    ] = "emoji_tiny",
    num_images: Annotated[int, typer.Option(min=1, help="Pictures a prompt.")] = 1,
    negative_prompt: options.NegativePrompt = "",
    seed: options.Seed = 0,
    guidance_scale: options.GuidanceScale = None,
    guidance_scale_end: options.GuidanceScaleEnd = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    weights: options.Weights = None,
    labels: Annotated[bool, typer.Option(help="Write the prompts into a grid.")] = True,
    folder_format: options.FolderFormat = None,
    image: given_pictures.Image = None,
    mask: given_pictures.Mask = None,
    keep_rows: given_pictures.KeepRows = None,
    keep_fraction: given_pictures.KeepFraction = None,
    stream: streaming.Stream = False,
    animation: streaming.Animation = None,
    every: streaming.Every = None,
    best_of: ranking.BestOf = None,
    keep: ranking.Keep = 1,
    rank_by: ranking.RankByOption = ranking.DEFAULT,
    clip: ranking.Clip = None,
) -> None:
    """Draw prompts with a model: a grid of the pictures, or single ones into a folder.

    Each file holds what it was drawn from; `keras-dalle reproduce` draws it again.
    """
    if bool(prompts) == (prompts_file is not None):
        raise typer.BadParameter("Give either PROMPTS or --prompts-file.")
    ranking.check_options(best_of, keep, num_images, rank_by, clip)
    given = GivenPicture(image, mask, keep_rows, keep_fraction)
    if prompts:
        given.check()
    columns = max(num_images, keep)
    target = output_of(
        output,
        folder_format,
        columns=columns if columns > 1 else None,
        labels=labels,
        replace=prompts_file is not None,
    )
    if prompts_file is not None and not target.is_folder:
        raise typer.BadParameter(
            f"--prompts-file draws into a folder: -o FOLDER/. Received: -o {output}"
        )
    views = streaming.Views(stream, animation, every)
    views.check(target)
    check_preset(preset)
    with step(f"Loading {preset}"):
        from keras_dalle.commands.drawing import drawer_of, given_parameters
        from keras_dalle.commands.prompt_files import (
            entries_of,
            read_prompts_file,
            requests_of,
        )

        entries = (
            read_prompts_file(prompts_file)
            if prompts_file
            else entries_of(prompts or ())
        )
        task = load_task(preset, weights)
        identity = preset_identity(preset, weights)
    parameters = {**task.generation_defaults, **given_parameters(context.params)}
    known_tokens = known_tokens_of(task, given)
    requests = requests_of(
        entries, negative_prompt, parameters, num_images, known_tokens
    )
    if best_of is not None:
        ranker = ranking.load_ranker(rank_by, clip)
        requests = ranking.best_requests(task, requests, best_of, keep, ranker)
    if views:
        streaming.write_streaming(task, requests, target, identity, views)
    else:
        write_pictures(requests, target, drawer_of(task), identity)
    typer.echo(target.path)
