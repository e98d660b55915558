"""`keras-dalle export`: a preset as a versioned SavedModel."""

from pathlib import Path
from typing import Annotated

import typer

from keras_dalle.commands.preset_names import check_preset, load_task
from keras_dalle.commands.progress import step


def export(
    preset: Annotated[str, typer.Argument(help="A preset's name or folder.")],
    directory: Annotated[
        Path, typer.Argument(help="The model's base path; versions are its folders.")
    ],
    version: Annotated[
        int | None, typer.Option(min=0, help="Default: the next free one.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Reload it where only TensorFlow is imported, and draw."
        ),
    ] = False,
) -> None:
    """Write DIRECTORY/VERSION for TF Serving: UTF-8 prompts in, PNG bytes out."""
    check_preset(preset)
    with step(f"Loading {preset}"):
        from keras_dalle.saved_model.exporter import export_saved_model

        task = load_task(preset)
    with step("Exporting"):
        path = export_saved_model(task, directory, version)
    if check:
        with step("Checking"):
            from keras_dalle.saved_model.verify import verify_saved_model

            verify_saved_model(path)
    typer.echo(path)
