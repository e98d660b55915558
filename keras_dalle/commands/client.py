"""`keras-dalle client`: pictures from a server."""

from pathlib import Path
from typing import Annotated

import typer

from keras_dalle.commands import options
from keras_dalle.commands.progress import step


def client(
    target: Annotated[
        str, typer.Argument(help="The server's gRPC address, as 127.0.0.1:8500.")
    ],
    prompts: options.Prompts,
    output: options.Output = Path("out.png"),
    model_name: options.ModelName = "dalle",
    negative_prompt: options.NegativePrompt = "",
    seed: options.Seed = 0,
    guidance_scale: options.GuidanceScale = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
) -> None:
    """Ask a server, embedded or stock, to draw prompts, and write a grid."""
    with step(f"Asking {target}"):
        from keras_dalle.commands.grids import decode_pngs, prompt_bytes, write_grid
        from keras_dalle.prediction_service.client import PredictionClient

        with PredictionClient(target, model_name) as prediction_client:
            pngs = prediction_client.generate(
                [prompt_bytes(prompt) for prompt in prompts],
                negative_prompts=prompt_bytes(negative_prompt),
                seed=seed,
                guidance_scale=guidance_scale,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
            )
    typer.echo(write_grid(decode_pngs(pngs), prompts, output))
