"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from keras_dalle.commands import numbers

INT32_MAX = 2**31 - 1
# Limits per prompt and per file: days of drawing, but no list that fills the memory.
MAX_NUM_IMAGES = 100_000
MAX_PICTURES = 1_000_000

Prompts = Annotated[list[str] | None, typer.Argument(help="Texts to draw.")]
PromptsFile = Annotated[
    Path | None,
    typer.Option(
        help="Prompts to draw into a folder. A .txt file has one on each line; a .csv, "
        ".tsv, .json or .jsonl file has the columns prompt, negative_prompt, name, "
        "num_images, image, mask, keep_rows, keep_fraction and any parameter. A hyphen "
        "(-) reads standard input.",
        metavar="FILE|-",
    ),
]
NumImages = Annotated[
    int,
    typer.Option(
        min=1,
        max=MAX_NUM_IMAGES,
        help="Number of pictures to draw for each prompt.",
    ),
]
Labels = Annotated[bool, typer.Option(help="Write the prompts into a grid.")]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="Where to write the grid of pictures.")
]
PictureOutput = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        help="A grid's file, ending in .png, .jpg or .webp; or a folder for single "
        "pictures, with a slash at its end.",
        metavar="FILE|FOLDER/",
    ),
]
FolderFormat = Annotated[
    Literal["png", "jpg", "webp"] | None,
    typer.Option(
        "--format", help="Of single pictures in a folder.", show_default="png"
    ),
]
NegativePrompt = Annotated[str, typer.Option(help="What to steer away from.")]
Seed = Annotated[
    int,
    typer.Option(
        parser=numbers.seed,
        metavar="INTEGER|random",
        help="Seed of the first picture. The same seed, prompt and parameters draw the "
        "same picture. -1 or random: a random seed, which is printed.",
    ),
]
GuidanceScale = Annotated[
    float | None,
    typer.Option(
        parser=numbers.finite,
        metavar="FLOAT",
        help="How far to follow the prompt; 1 is off. Default: the model's own.",
    ),
]
GuidanceScaleEnd = Annotated[
    float | None,
    typer.Option(
        parser=numbers.finite,
        metavar="FLOAT",
        help="Guidance scale at the last token; it changes linearly from "
        "--guidance-scale. -1 (default): no change.",
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        parser=numbers.finite,
        metavar="FLOAT",
        help="Sampling temperature. Below 1 is safer, above 1 more varied. Default: "
        "the model's own.",
    ),
]
TopK = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=INT32_MAX,
        help="Sample from this many likeliest tokens; 0 is off. Default: the model's "
        "own.",
    ),
]
TopP = Annotated[
    float | None,
    typer.Option(
        parser=numbers.finite,
        metavar="FLOAT",
        help="Sample from the likeliest tokens that have this share of the "
        "probability; 1 is off. Default: the model's own.",
    ),
]
VQGANPreset = Annotated[
    str,
    typer.Option(help="The preset of a VQGAN, or of a model that draws with one."),
]
Weights = Annotated[
    Literal["float32", "bfloat16", "int8"] | None,
    typer.Option(
        help="How weights are held in memory. Narrow ones are a half and a quarter as "
        "large. Default: as the preset was saved.",
    ),
]
ModelName = Annotated[str, typer.Option(help="The model's name on the server.")]
DataDirectory = Annotated[
    Path, typer.Option(help="The emoji data set; rendered there if it is missing.")
]
