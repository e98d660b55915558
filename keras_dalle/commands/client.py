"""`keras-dalle client`: pictures from a server."""

from typing import Annotated

import typer

from keras_dalle.commands import options
from keras_dalle.commands.outputs import output_of, write_pictures
from keras_dalle.commands.progress import step
from keras_dalle.utils.picture_metadata import PresetIdentity


def client(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(help="The server's gRPC address, as 127.0.0.1:8500.")
    ],
    prompts: options.Prompts,
    output: options.PictureOutput = "out.png",
    model_name: options.ModelName = "dalle",
    negative_prompt: options.NegativePrompt = "",
    seed: options.Seed = 0,
    guidance_scale: options.GuidanceScale = None,
    guidance_scale_end: options.GuidanceScaleEnd = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    folder_format: options.FolderFormat = None,
) -> None:
    """Ask a server, embedded or stock, to draw prompts: a grid, or single pictures.

    Each file holds what it was drawn from; `keras-dalle reproduce` draws it again.
    """
    pictures = output_of(output, folder_format)
    with step("Starting"):
        from keras_dalle.commands.drawing import given_parameters, served_drawer_of
        from keras_dalle.commands.prompt_files import entries_of, requests_of
        from keras_dalle.prediction_service.client import PredictionClient

    with PredictionClient(target, model_name) as prediction_client:
        with step(f"Asking {target} for its defaults"):
            defaults = prediction_client.defaults()
        parameters = {**defaults, **given_parameters(context.params)}
        write_pictures(
            requests_of(entries_of(prompts), negative_prompt, parameters),
            pictures,
            served_drawer_of(prediction_client),
            # A server does not tell which files its model was made from.
            PresetIdentity(model_name, sha256=None),
        )
    typer.echo(pictures.path)
