"""`keras-dalle serve`: the embedded server, with the stock server's flags."""

from pathlib import Path
from typing import Annotated

import typer

from keras_dalle.commands.progress import console

READY = "Serving"


def serve(
    directory: Annotated[
        Path | None, typer.Argument(help="Short for --model_base_path.")
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="For gRPC; 0: any free.")
    ] = 8500,
    model_name: Annotated[str, typer.Option("--model_name")] = "dalle",
    model_base_path: Annotated[
        Path | None,
        typer.Option("--model_base_path", help="The folder of the versions' folders."),
    ] = None,
) -> None:
    """Serve an exported model over gRPC, on this machine's loopback address."""
    given = [path for path in (directory, model_base_path) if path is not None]
    if len(given) != 1:
        raise typer.BadParameter("Give either DIRECTORY or --model_base_path.")
    base_path = given[0].absolute()
    import tensorflow as tf

    from keras_dalle.prediction_service.server import PredictionServer, stop_signal

    tf.get_logger().setLevel("ERROR")
    server = PredictionServer(base_path, model_name=model_name, port=port)
    signalled = stop_signal()
    server.start()
    console.print(
        "This embedded server is for one machine. In production run the stock one:\n"
        f"  tensorflow_model_server --port={server.port} --model_name={model_name} "
        f"--model_base_path={base_path}",
        soft_wrap=True,
        markup=False,
    )
    # Whoever started this process reads the port from here.
    print(
        f"{READY} {model_name} version {server.version} on 127.0.0.1:{server.port}",
        flush=True,
    )
    signalled.wait()
    server.stop()
