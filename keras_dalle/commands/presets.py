"""`keras-dalle presets`: the models that this package knows by name."""

from pathlib import Path

import typer
from rich.console import Console
from rich.table import Column, Table

from keras_dalle.commands.preset_names import published_presets, shipped_presets
from keras_dalle.utils.files import read_json

METADATA_FILE = "metadata.json"


def presets() -> None:
    """List the presets with their sizes: those shipped, and those to download."""
    shipped = shipped_presets()
    if not shipped:
        typer.echo("No preset is shipped with this installation.")
    table = Table(Column("preset", no_wrap=True), "parameters", "size")
    table.add_column("folder, or what is downloaded when used", overflow="fold")
    for name, path in shipped.items():
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        table.add_row(name, parameter_count(path), f"{size / 1e6:.1f} MB", str(path))
    for name, fields in published_presets().items():
        count = fields["metadata"]["params"]
        # The published files are float32.
        size = count * 4
        table.add_row(
            name, f"{count:,}", f"{size / 1e6:,.1f} MB", fields["kaggle_handle"]
        )
    Console().print(table)


def parameter_count(preset_directory: Path) -> str:
    """The number that KerasHub noted when it saved the preset."""
    path = preset_directory / METADATA_FILE
    if not path.is_file():
        return "unknown"
    count = read_json(path).get("parameter_count")
    return "unknown" if count is None else f"{count:,}"
