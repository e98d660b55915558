"""`keras-dalle serve`: the embedded server, with the stock server's flags."""

import dataclasses
import importlib.metadata
import logging
import math
import os
import shlex
import threading
from concurrent import futures
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_dalle.commands.progress import console
from keras_dalle.commands.stock_flags import FIELDS, STOCK_ONLY, with_stock_flags
from keras_dalle.prediction_service.config_files import read_files
from keras_dalle.prediction_service.options import ServerOptions
from keras_dalle.prediction_service.stock_only_flags import STOCK_ONLY_FLAGS

READY = "Serving"
SIGNAL_POLL_S = 0.5
# In the stock server's command whatever their value: its defaults are others.
ALWAYS_SHOWN = (
    "port",
    "rest_api_port",
    "model_name",
    "enable_grpc_healthcheck_service",
)
# The longest time a signal waits while models are loaded.
SIGNAL_POLL_S = 0.1


def _show_version(is_asked: bool) -> None:
    if is_asked:
        for name in ("keras-dalle", "tensorflow"):
            print(f"{name} {importlib.metadata.version(name)}")
        raise typer.Exit


@with_stock_flags
def serve(
    context: typer.Context,
    directory: Annotated[
        str | None, typer.Argument(help="Short for --model_base_path.")
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
    stock_only = context.meta[STOCK_ONLY]
    _say_what_is_unused(options, stock_only)
    from keras_dalle.prediction_service.server import PredictionServer, stop_signal

    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    server = PredictionServer(**vars(options))
    signalled = stop_signal()
    _start(server, signalled)
    running = dataclasses.replace(
        options, port=server.port, rest_api_port=server.rest_api_port
    )
    given = [f"--{name}={value}" for name, value in stock_only.items()]
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
        f"{READY} {models or 'no models'}, REST on {options.host}:"
        f"{server.rest_api_port}, gRPC on {options.host}:{server.port}",
        flush=True,
    )
    # With a time limit: the system may give the signal to another thread, and Python
    # then calls the handler when this one wakes (2 of 4 runs waited for ever).
    while not signalled.wait(SIGNAL_POLL_S):
        pass
    console.print("Stopping: running calls may finish.")
    server.stop()


def _options(directory: str | None, flags: dict[str, Any]) -> ServerOptions:
    """The flags, checked as far as that goes without TensorFlow."""
    if directory is not None:
        if flags["model_base_path"] is not None:
            raise typer.BadParameter("Give either DIRECTORY or --model_base_path.")
        flags["model_base_path"] = directory
    try:
        options = ServerOptions(**flags)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    read_files(options)
    return options


def _say_what_is_unused(options: ServerOptions, stock_only: dict[str, str]) -> None:
    """Says in one line which flags change nothing, and why."""
    reasons = {
        f"--{name}={value}": STOCK_ONLY_FLAGS[name].reason
        for name, value in stock_only.items()
    }
    for name, reason in options.unused().items():
        reasons[f"--{name}"] = reason
    if reasons:
        texts = ", ".join(f"{flag} ({reason})" for flag, reason in reasons.items())
        console.print(f"Without effect here: {texts}.", soft_wrap=True, markup=False)


def _start(server: Any, signalled: threading.Event) -> None:
    """Loads the models and opens the ports. A signal meanwhile ends the process.

    It runs in a thread. If TensorFlow loads in the main thread, Python notices a signal
    only after the load, and process 1 of a container does not notice it at all.
    """
    done: futures.Future[None] = futures.Future()

    def load() -> None:
        try:
            server.start()
            done.set_result(None)
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=load, name="Loading", daemon=True).start()
    while not done.done():
        if signalled.wait(SIGNAL_POLL_S):
            console.print("Stopped before the models were loaded.")
            # No other way ends a thread that runs TensorFlow's code.
            os._exit(0)
    done.result()


def _stock_command(options: ServerOptions, stock_only: list[str]) -> str:
    """The stock server's command for the same: what is not its default.

    Args:
        options: of the server that runs.
        stock_only: flags that this one has no use for, as `--name=value`.
    """
    words = ["tensorflow_model_server", *stock_only]
    left_out = {"host"}
    if options.model_config_file is not None:
        left_out |= {"model_name", "model_base_path"}
    for field in FIELDS:
        value = getattr(options, field.name)
        shown = field.name in ALWAYS_SHOWN or value != field.default
        if field.name not in left_out and value is not None and shown:
            words.append(f"--{field.name}={_flag_text(field.name, value)}")
    return shlex.join(words)


def _flag_text(name: str, value: Any) -> str:
    """Returns a flag's value in the spelling that the stock server reads."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Path):
        # The other server may run elsewhere, and takes no relative base path.
        return str(value.absolute())
    if name.endswith("_seconds"):
        # It reads no fractions.
        return str(math.ceil(value))
    return str(value)
