"""`keras-dalle generate`: pictures from a preset, in this process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track

from keras_dalle.commands import options
from keras_dalle.commands.preset_names import check_preset, load_task
from keras_dalle.commands.progress import console, step


def generate(
    prompts: options.Prompts,
    output: options.Output = Path("grid.png"),
    preset: Annotated[
        str, typer.Option(help="A shipped preset's name, or a preset's folder.")
    ] = "emoji_tiny",
    num_images: Annotated[int, typer.Option(min=1, help="Pictures a prompt.")] = 1,
    negative_prompt: options.NegativePrompt = "",
    seed: options.Seed = 0,
    guidance_scale: options.GuidanceScale = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    labels: Annotated[bool, typer.Option(help="Write the prompts.")] = True,
) -> None:
    """Draw prompts with a model and write a grid of the pictures."""
    check_preset(preset)
    with step(f"Loading {preset}"):
        import numpy as np

        from keras_dalle.commands.grids import write_grid

        task = load_task(preset)
    pictures = draw(
        task,
        prompts,
        negative_prompt,
        num_images=num_images,
        seed=seed,
        guidance_scale=guidance_scale,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
    )
    progress = track(pictures, "Drawing", total=len(prompts), console=console)
    images_NHWC = np.concatenate(list(progress))
    path = write_grid(
        images_NHWC,
        [prompt for prompt in prompts for _ in range(num_images)],
        output,
        columns=num_images if num_images > 1 else None,
        labels=labels,
    )
    typer.echo(path)


def draw(
    task: Any, prompts: list[str], negative_prompt: str, **parameters: Any
) -> Iterator[Any]:
    """Yields the pictures of each prompt, uint8 [num_images, H, W, 3].

    One call a prompt, so that there is progress to see.
    """
    from keras_dalle.commands.grids import prompt_bytes

    for prompt in prompts:
        inputs = {
            "prompts": [prompt_bytes(prompt)],
            "negative_prompts": [prompt_bytes(negative_prompt)],
        }
        images = task.generate(inputs, **parameters)
        yield images.reshape(-1, *images.shape[-3:])
