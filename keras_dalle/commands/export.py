"""`keras-dalle export`: a preset as a versioned SavedModel."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from keras_dalle.commands import options
from keras_dalle.commands.preset_names import check_preset, load_task, preset_facts
from keras_dalle.commands.progress import console, step
from keras_dalle.saved_model.versions import free_version

if TYPE_CHECKING:
    from keras_dalle.saved_model.verify import VerificationReport


def export(
    preset: Annotated[str, typer.Argument(help="A preset's name or folder.")],
    directory: Annotated[
        Path, typer.Argument(help="The model's base path; versions are its folders.")
    ],
    version: Annotated[
        int | None, typer.Option(min=0, help="Default: the next free one.")
    ] = None,
    warmup_batch_size: Annotated[
        list[int] | None,
        typer.Option(
            min=0,
            help="A server that loads the version first runs a request of so many "
            "rows for each signature; may be given several times; 0: none. At most "
            "the server's max_batch_size.",
            show_default="1",
        ),
    ] = None,
    jit: Annotated[
        bool,
        typer.Option(
            "--jit",
            help="Let XLA compile the decoder's step. The server then needs a flag, "
            "which is printed, and compiles for each batch size.",
        ),
    ] = False,
    weights: options.Weights = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Before the version appears: look for ops that the stock server "
            "lacks, and compare all signatures with the model in memory, in a process "
            "where only TensorFlow can be imported. Draws a few pictures.",
        ),
    ] = False,
) -> None:
    """Write DIRECTORY/VERSION for TF Serving: UTF-8 prompts in, PNG bytes out."""
    check_preset(preset)
    free_version(directory, version)  # Raises before minutes of work.
    sizes = [1] if warmup_batch_size is None else warmup_batch_size
    with step(f"Loading {preset}"):
        from keras_dalle.saved_model.card_file import XLA_FLAG
        from keras_dalle.saved_model.exporter import export_saved_model
        from keras_dalle.saved_model.verify import verify_saved_model

        task = load_task(preset, weights)
    reports = []

    def check_model(path, module):
        reports.append(verify_saved_model(path, module, allow_jit=jit))

    with step("Exporting and checking" if check else "Exporting"):
        path = export_saved_model(
            task,
            directory,
            version,
            warmup_batch_sizes=[size for size in sizes if size],
            preset=preset_facts(preset),
            jit=jit,
            check=check_model if check else None,
        )
    for report in reports:
        _show(report)
    if jit:
        console.print(f"The server must be started with {XLA_FLAG}")
    typer.echo(path)


def _show(report: "VerificationReport") -> None:
    operations = Table("op", "nodes", "in the stock server", title="Operations")
    for use in report.operations:
        operations.add_row(use.op, str(use.count), f"yes, {use.library}")
    signatures = Table("signature", "rows", "same as in memory", title="Signatures")
    for check in report.signatures:
        faulty = f", {check.num_faulty} with an error" if check.num_faulty else ""
        outputs = ", ".join(f"{alias} {kind}" for alias, kind in check.compared.items())
        if check.max_difference:
            outputs += f"; at most {check.max_difference:.1e} apart"
        signatures.add_row(check.name, f"{check.num_rows}{faulty}", outputs)
    console.print(operations)
    console.print(signatures)
