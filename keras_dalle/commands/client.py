"""`keras-dalle client`: pictures from a server."""

import re
from typing import Annotated

import typer

from keras_dalle.commands import given_pictures, options, ranking, streaming
from keras_dalle.commands.given_pictures import GivenPicture
from keras_dalle.commands.jobs import Job
from keras_dalle.commands.progress import step
from keras_dalle.commands.ranking import Best
from keras_dalle.commands.streaming import Views
from keras_dalle.utils.foreign_values import shortened
from keras_dalle.utils.picture_metadata import PresetIdentity


def _check_address(target: str) -> None:
    """Refuses wrong addresses: gRPC reads port 99999 as another, a URL as a host."""
    port = re.search(r":(\d+)$", target)
    is_local = target.startswith(("unix:", "unix-abstract:"))
    has_port = port is not None and 0 < int(port[1]) < 2**16
    is_url = target.lower().startswith(("http:", "https:"))
    if is_url or not (has_port or is_local):
        raise typer.BadParameter(
            "A server's address is HOST:PORT, such as 127.0.0.1:8500. PORT is gRPC's, "
            f"and nothing stands before HOST. Received: {shortened(target)}"
        )


def client(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(help="The server's gRPC address, as 127.0.0.1:8500.")
    ],
    prompts: options.Prompts = None,
    output: options.PictureOutput = "out.png",
    prompts_file: options.PromptsFile = None,
    model_name: options.ModelName = "dalle",
    num_images: options.NumImages = 1,
    negative_prompt: options.NegativePrompt = "",
    seed: options.Seed = 0,
    guidance_scale: options.GuidanceScale = None,
    guidance_scale_end: options.GuidanceScaleEnd = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
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
    """Ask a server, embedded or stock, to draw prompts: as `generate` does, from afar.

    Each file holds what it was drawn from; `keras-dalle reproduce` draws it again.
    """
    _check_address(target)
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
    with step("Starting"):
        from keras_dalle.commands.served_model import ServedModel
        from keras_dalle.prediction_service.client import PredictionClient

        entries = job.entries()
    with PredictionClient(target, model_name) as prediction_client:
        with step(f"Asking {target} for its model"):
            model = ServedModel(prediction_client)
        # A server does not tell which files its model was made from.
        job.draw(entries, model, pictures, PresetIdentity(model_name, sha256=None))
