"""`keras-dalle encode` and `decode`: pictures to image tokens, and back."""

# H height, W width, T image tokens

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_dalle.commands import options
from keras_dalle.commands.given_pictures import tell_of_crop
from keras_dalle.commands.preset_names import load_vqgan
from keras_dalle.commands.progress import step
from keras_dalle.utils.writable import check_file_place

if TYPE_CHECKING:
    import numpy as np


def encode(
    image: Annotated[
        Path,
        typer.Argument(help="A picture of any size: its middle square is used."),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The tokens' file: .json or .npy."),
    ],
    preset: options.VQGANPreset = "emoji_tiny",
) -> None:
    """Turn a picture into the image tokens of a model's VQGAN."""
    from keras_dalle.utils.image_files import read_image
    from keras_dalle.utils.token_files import check_token_file, save_tokens

    check_token_file(output)
    check_file_place(output)
    image_HWC = read_image(image)
    with step(f"Loading {preset}"):
        from keras_dalle.generation.given_images import square
        from keras_dalle.generation.one_by_one import encode_function

        vqgan = load_vqgan(preset)
    tell_of_crop(image, *image_HWC.shape[:2])
    square_1HWC = square(image_HWC, vqgan.image_size)[None]
    save_tokens(encode_function(vqgan)(square_1HWC).numpy()[0], output)
    typer.echo(output)


def decode(
    tokens: Annotated[Path, typer.Argument(help="A file that `encode` wrote.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The picture: .png, .jpg or .webp."),
    ],
    preset: options.VQGANPreset = "emoji_tiny",
) -> None:
    """Turn image tokens into their picture, by a model's VQGAN."""
    from keras_dalle.utils.picture_files import picture_format, save_picture
    from keras_dalle.utils.token_files import read_tokens

    picture_format(output)
    check_file_place(output)
    tokens_T = read_tokens(tokens)
    with step(f"Loading {preset}"):
        import numpy as np
        from PIL import Image

        from keras_dalle.generation.one_by_one import decode_function

        vqgan = load_vqgan(preset)
    _check_tokens(tokens_T, vqgan, tokens)
    image_HWC = decode_function(vqgan)(tokens_T[None].astype(np.int32)).numpy()[0]
    save_picture(Image.fromarray(image_HWC), output)
    typer.echo(output)


def _check_tokens(tokens_T: "np.ndarray", vqgan: Any, path: Path) -> None:
    length, codes = vqgan.grid_size**2, vqgan.codebook_size
    if len(tokens_T) != length or not all(0 <= token < codes for token in tokens_T):
        raise ValueError(
            f"This VQGAN's pictures have {length} image tokens from 0 to {codes - 1}. "
            f"Received: {len(tokens_T)} from {tokens_T.min()} to {tokens_T.max()} in "
            f"{path}. --preset names the VQGAN that encoded them."
        )
