"""`keras-dalle serve`: the embedded server, with the stock server's flags."""

import dataclasses
import importlib.metadata
import logging
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_dalle.commands.progress import console
from keras_dalle.commands.stock_flags import FIELDS, STOCK_ONLY, with_stock_flags
from keras_dalle.prediction_service.config_files import read_files
from keras_dalle.prediction_service.options import ServerOptions

READY = "Serving"
# In the stock server's command whatever their value: its defaults are others.
ALWAYS_SHOWN = (
    "port",
    "rest_api_port",
    "model_name",
    "enable_grpc_healthcheck_service",
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        for name in ("keras-dalle", "tensorflow"):
            print(f"{name} {importlib.metadata.version(name)}")
        raise typer.Exit


@with_stock_flags
def serve(
    context: typer.Context,
    directory: Annotated[
        Path | None, typer.Argument(help="Short for --model_base_path.")
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show it, and end."
        ),
    ] = False,
    **flags: Any,
) -> None:
    """Serve exported models over gRPC and REST, on this machine's loopback address."""
    options = _options(directory, flags)
    from keras_dalle.prediction_service.server import PredictionServer, stop_signal

    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    server = PredictionServer(**vars(options))
    signalled = stop_signal()
    server.start()
    running = dataclasses.replace(
        options, port=server.port, rest_api_port=server.rest_api_port
    )
    given = context.meta[STOCK_ONLY]
    needed = [flag for flag in server.needed_flags() if flag not in given]
    console.print(
        "This embedded server is for one machine. In production run the stock one:\n"
        f"  {_stock_command(running, given + needed)}",
        soft_wrap=True,
        markup=False,
    )
    models = ", ".join(
        f"{name} version {' '.join(map(str, versions))}"
        for name, versions in server.versions().items()
    )
    # Whoever started this process reads the ports from here.
    print(
        f"{READY} {models}, REST on {options.host}:{server.rest_api_port}, "
        f"gRPC on {options.host}:{server.port}",
        flush=True,
    )
    signalled.wait()
    console.print("Stopping: running calls may finish.")
    server.stop()


def _options(directory: Path | None, flags: dict[str, Any]) -> ServerOptions:
    """The flags, checked as far as that goes without TensorFlow."""
    base_path = flags["model_base_path"]
    if directory is not None and base_path is not None:
        raise typer.BadParameter("Give either DIRECTORY or --model_base_path.")
    base_path = base_path if directory is None else directory
    if base_path is not None:
        base_path = base_path.absolute()
    try:
        options = ServerOptions(**{**flags, "model_base_path": base_path})
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    read_files(options)
    return options


def _stock_command(options: ServerOptions, stock_only: list[str]) -> str:
    """The stock server's command for the same: what is not its default.

    Args:
        options: of the server that runs.
        stock_only: flags that this one has no use for, as `--name=value`.
    """
    words = ["tensorflow_model_server", *stock_only]
    for field in FIELDS:
        value = getattr(options, field.name)
        shown = field.name in ALWAYS_SHOWN or value != field.default
        if field.name != "host" and value is not None and shown:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            words.append(f"--{field.name}={text}")
    return shlex.join(words)
