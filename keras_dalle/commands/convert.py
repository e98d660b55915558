"""`keras-dalle convert`: checkpoints from one format to another."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from keras_dalle.commands.preset_names import shipped_presets
from keras_dalle.commands.progress import console, step
from keras_dalle.utils.atomic import atomic_directory, refuse_existing
from keras_dalle.utils.writable import check_folder_place

FORMATS = ("keras", "flax", "torch", "min-dalle")
LARGEST = 5


def convert(
    source: Annotated[
        Path, typer.Argument(help="A checkpoint's folder, or a shipped preset's name.")
    ],
    directory: Annotated[
        Path | None,
        typer.Argument(help="The folder to write. Default: SOURCE's name and format."),
    ] = None,
    to: Annotated[
        str,
        typer.Option(
            help=f"The format: {', '.join(FORMATS)}. Or the folder to write a KerasHub "
            "preset to.",
            metavar="FORMAT|FOLDER",
        ),
    ] = "keras",
    vqgan: Annotated[
        Path | None,
        typer.Option(help="The folder of the VQGAN that belongs to a DALL·E mini."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="The .yaml to read if a taming-transformers folder has several.",
            metavar="FILE",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="The .ckpt to read if a taming-transformers folder has several.",
            metavar="FILE",
        ),
    ] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(help="Of the written weights. Default: float32."),
    ] = None,
    tensors: Annotated[
        bool, typer.Option("--tensors", help="List all tensors, not the largest.")
    ] = False,
) -> None:
    """Convert original checkpoints to KerasHub presets and back, tensor by tensor.

    Reads DALL·E mini and VQGANs in Flax, taming-transformers' VQGANs, min-dalle's
    files, Hugging Face tokenizers and presets; the files in SOURCE tell which.
    """
    source = shipped_presets().get(str(source), source)
    form, target = destination(source, directory, to)
    refuse_existing(target)
    check_folder_place(target)
    with step("Starting"):
        from keras_dalle.converters.conversion import read_checkpoint, write_checkpoint
        from keras_dalle.converters.deferred import values_on_demand
        from keras_dalle.converters.originals import recognise
        from keras_dalle.utils.weight_files import check_room, check_weight_files

    known = recognise(source)
    files = {"config": config, "weights": weights}
    choice = {name: path for name, path in files.items() if path is not None}
    own = choice if known.has_choice else {}
    stored = known.tensors(source, **own) if known.tensors else {}
    console.print(f"{source}: {known.name}", markup=False, soft_wrap=True)
    print_tensors(stored, limit=None if tensors else LARGEST)
    notes: list[str] = []
    arguments = {"dtype": dtype} if dtype else {}
    with values_on_demand(), progress_of(stored) as on_assigned:
        checkpoint = read_checkpoint(
            source, vqgan, notes, on_assigned, choice, **arguments
        )
        print_model(checkpoint.model)
        with atomic_directory(target) as partial:
            check_room(partial, checkpoint.model)
            write_checkpoint(checkpoint, partial, form, notes)
            check_weight_files(partial)
    for note in notes:
        console.print(f"Note: {note}", markup=False, soft_wrap=True)
    typer.echo(target)


def destination(source: Path, directory: Path | None, to: str) -> tuple[str, Path]:
    """The format and the folder that the arguments mean.

    Args:
        source: The folder that is read.
        directory: The folder as an argument, if it was given.
        to: A format, or the folder.

    Raises:
        typer.BadParameter: `to` is no format, and the folder was given too.
    """
    if to in FORMATS:
        return to, directory or Path(f"{source.resolve().name}-{to}")
    if directory is not None:
        raise typer.BadParameter(
            f"`--to` must be one of {', '.join(FORMATS)} where the folder to write is "
            f"given as well ({directory}). Received: --to {to}."
        )
    return "keras", Path(to)


# === What was read ===


def print_tensors(stored: Mapping[str, Any], limit: int | None) -> None:
    """Prints the number of tensors and of their entries, and the largest of them.

    Args:
        stored: Name to `StoredTensor`.
        limit: How many tensors to list; `None` for all, in the file's order.
    """
    if not stored:
        return
    sizes = {name: math.prod(tensor.shape) for name, tensor in stored.items()}
    names = list(stored)
    if limit is not None and len(names) > limit:
        names = sorted(names, key=lambda name: -sizes[name])[:limit]
    table = Table()
    table.add_column("tensor", overflow="fold")
    table.add_column("shape", no_wrap=True)
    table.add_column("type")
    for name in names:
        tensor = stored[name]
        table.add_row(escape(name), "×".join(map(str, tensor.shape)), tensor.dtype.name)
    if len(names) < len(stored):
        table.add_row(f"and {len(stored) - len(names)} smaller ones")
    console.print(f"{len(stored)} tensors, {sum(sizes.values()):,} numbers")
    console.print(table)


def print_model(model: Any) -> None:
    """Prints a Keras object's class, parameters and configuration."""
    backbone = getattr(model, "backbone", model)
    count = sum(math.prod(variable.shape) for variable in backbone.weights)
    console.print(f"{type(model).__name__}, {count:,} parameters")
    table = Table("argument", "value")
    for name, value in _flat_configuration(backbone):
        table.add_row(name, escape(str(value)))
    console.print(table)


def _flat_configuration(model: Any) -> Iterator[tuple[str, Any]]:
    for name, value in model.get_config().items():
        if name in ("name", "trainable", "dtype"):
            continue
        if isinstance(value, dict):
            yield from ((f"{name}.{key}", entry) for key, entry in value.items())
        else:
            yield name, value


@contextmanager
def progress_of(stored: Mapping[str, Any]) -> Iterator[Callable[[str], None]]:
    """A bar that moves by one whenever what is yielded is called."""
    from keras_dalle.converters.dalle_bart import unstack_layers

    columns = TextColumn("Converting"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console, disable=not stored) as progress:
        task = progress.add_task("", total=len(unstack_layers(stored)))
        yield lambda name: progress.advance(task)
        progress.update(task, total=progress.tasks[0].completed)
