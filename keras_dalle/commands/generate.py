"""`keras-dalle generate`: pictures from a preset, in this process."""

from typing import Annotated

import typer

from keras_dalle.commands import given_pictures, options, ranking, streaming
from keras_dalle.commands.given_pictures import GivenPicture
from keras_dalle.commands.jobs import Job
from keras_dalle.commands.preset_names import check_preset, load_task, preset_identity
from keras_dalle.commands.progress import step
from keras_dalle.commands.ranking import Best
from keras_dalle.commands.streaming import Views


def generate(
    context: typer.Context,
    prompts: options.Prompts = None,
    output: options.PictureOutput = "grid.png",
    prompts_file: options.PromptsFile = None,
    preset: Annotated[
        str, typer.Option(help="A shipped preset's name, or a preset's folder.")
    ] = "emoji_tiny",
    num_images: options.NumImages = 1,
    negative_prompt: options.NegativePrompt = "",
    seed: options.Seed = 0,
    guidance_scale: options.GuidanceScale = None,
    guidance_scale_end: options.GuidanceScaleEnd = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    weights: options.Weights = None,
    labels: options.Labels = True,
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
    job = Job(
        prompts or (),
        prompts_file,
        negative_prompt,
        context.params,
        num_images,
        GivenPicture(image, mask, keep_rows, keep_fraction),
        Views(stream, animation, every),
        Best(best_of, keep, rank_by, clip),
    )
    pictures = job.output(output, folder_format, labels)
    check_preset(preset)
    with step(f"Loading {preset}"):
        entries = job.entries()
        task = load_task(preset, weights)
        identity = preset_identity(preset, weights)
    job.draw(entries, task, pictures, identity)
