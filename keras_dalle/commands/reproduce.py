"""`keras-dalle reproduce`: a picture again, from what its file says."""

# N pictures, H height, W width

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import track

import keras_dalle
from keras_dalle.commands import options
from keras_dalle.commands.preset_names import (
    check_preset,
    load_task,
    preset_identity,
    published_presets,
    shipped_presets,
)
from keras_dalle.commands.progress import console, step
from keras_dalle.utils.writable import check_file_place

if TYPE_CHECKING:
    import numpy as np

    from keras_dalle.utils.picture_metadata import (
        PictureMetadata,
        PictureRow,
        PresetIdentity,
    )


def reproduce(
    picture: Annotated[
        Path, typer.Argument(help="A picture that `generate` or `client` wrote.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Where to write the new one. Default: nowhere."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="The preset that drew it. Default: as the file says."),
    ] = None,
    weights: options.Weights = None,
) -> None:
    """Draw a picture or grid again and tell whether its pixels are identical.

    Exits with 1 if they are not.
    """
    from keras_dalle.utils.picture_files import (
        check_metadata_fits,
        decode_pixels,
        encode_picture,
        read_picture,
        save_picture,
    )

    stored = read_picture(picture)
    metadata = stored.metadata
    if output is not None:
        check_metadata_fits(metadata, output)
        check_file_place(output)
    preset = preset or _preset_of(metadata, picture)
    check_preset(preset)
    with step(f"Loading {preset}"):
        import numpy as np

        from keras_dalle.commands.drawing import draw_in_batches, drawer_of
        from keras_dalle.commands.grids import compose

        task = load_task(preset, weights)
        _warn_of_other_model(metadata, preset_identity(preset, weights))
    rows = _rows_for(task, metadata)
    drawn = track(
        draw_in_batches(drawer_of(task), rows),
        "Drawing",
        total=len(rows),
        console=console,
    )
    rows, images = zip(*drawn, strict=True)
    new = replace(metadata, pictures=rows)
    image = compose(np.stack(images), new)
    # Encoded as the file is, so that a JPEG is compared with a JPEG.
    again_HWC = decode_pixels(encode_picture(image, stored.format))
    if output is not None:
        save_picture(image, output, new)
        console.print(f"Wrote {output}", markup=False, soft_wrap=True)
    is_same, text = _verdict(metadata.pictures, rows, stored.pixels_HWC, again_HWC)
    typer.echo(f"{picture}: {text}")
    if not is_same:
        raise typer.Exit(1)


def _preset_of(metadata: "PictureMetadata", picture: Path) -> str:
    """The preset that a file names, if it may be loaded because a file says so.

    A file comes from outside: it does not choose a folder to read or an address to
    download from.
    """
    name = metadata.preset.name
    known = {**shipped_presets(), **published_presets()}
    if metadata.preset.sha256 is None or name not in known:
        raise ValueError(
            f"{picture} was drawn by {metadata.preset}, which is no preset that this "
            "package knows by name. Say which preset that is: --preset PRESET"
        )
    return name


def _warn_of_other_model(metadata: "PictureMetadata", found: "PresetIdentity") -> None:
    if metadata.preset.sha256 and not found.is_same_model(metadata.preset):
        console.print(
            f"Warning: the picture was drawn by {metadata.preset}. This is another "
            f"model: {found}",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
    here = keras_dalle.__version__
    if metadata.version != here:
        console.print(
            f"Note: drawn by keras_dalle {metadata.version}; this is {here}.",
            markup=False,
            soft_wrap=True,
        )


def _rows_for(task: Any, metadata: "PictureMetadata") -> "list[PictureRow]":
    """A file's rows with every parameter that there is now.

    Raises:
        ValueError: the file has a parameter that is not known here.
    """
    known = task.generation_defaults
    names = {name for row in metadata.pictures for name in row.parameters}
    if unknown := sorted(names - set(known)):
        raise ValueError(
            f"The picture's parameters must be among {', '.join(known)}. Received: "
            f"{', '.join(unknown)}, from keras_dalle {metadata.version}. Use that "
            "version."
        )
    return [
        replace(row, parameters={**known, **row.parameters})
        for row in metadata.pictures
    ]


def _verdict(
    before: "Sequence[PictureRow]",
    after: "Sequence[PictureRow]",
    there_HWC: "np.ndarray",
    again_HWC: "np.ndarray",
) -> tuple[bool, str]:
    """Whether the file is the same again, and what to say of it."""
    import numpy as np

    count = len(after)
    same = sum(
        old.pixels_sha256 == new.pixels_sha256
        for old, new in zip(before, after, strict=True)
    )
    if same < count:
        return False, f"not identical: {count - same} of {count} pictures differ"
    if there_HWC.shape != again_HWC.shape:
        height, width = there_HWC.shape[:2]
        return False, (
            f"not identical: the {count} drawn are, but the file has {width}×{height} "
            f"pixels in place of {again_HWC.shape[1]}×{again_HWC.shape[0]}"
        )
    differing = int(np.any(there_HWC != again_HWC, axis=-1).sum())
    if differing:
        return False, (
            f"not identical: the {count} drawn are, but {differing} pixels of the file "
            "are not, because it was edited, encoded by another version of Pillow, or "
            "labelled with other fonts"
        )
    return True, f"identical: all pixels of the file, and {count} of {count} pictures"
