"""Exports a preset and writes what a stock TF Serving server needs to serve it.

FOLDER gets models/NAME/VERSION, models.config, batching.config and monitoring.config.
The last line that is printed is the command that serves them; --run runs it.
"""

import os
import shlex
from pathlib import Path

from export import server_files as files
from export.options import parser_of
from keras_dalle.utils.atomic import write_text
from keras_dalle.utils.tensorflow_start import prepare_tensorflow


def main() -> None:
    prepare_tensorflow()
    parser = parser_of(
        __doc__, "python -m export.stock_server emoji_tiny out/serving --docker"
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--docker", action="store_true", help=f"the server of the image {files.IMAGE}"
    )
    parser.add_argument("--run", action="store_true", help="run the command, too")
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    base_path = folder / "models" / arguments.name
    path = files.export_preset(
        arguments.preset, base_path, arguments.batch_size, arguments.jit
    )
    write_files(folder, arguments.name, arguments.batch_size)
    make_command = docker_command if arguments.docker else binary_command
    command = make_command(folder, arguments.batch_size, arguments.jit)
    print(f"Exported {path}. Serve it by:\n{shlex.join(command)}", flush=True)
    if arguments.run:
        os.execvp(command[0], command)


def write_files(folder: Path, name: str, batch_sizes: list[int]) -> None:
    """The server's configuration files."""
    texts = {
        files.MODELS_FILE: files.models_text(name, folder / "models" / name),
        files.BATCHING_FILE: files.batching_text(batch_sizes),
        files.MONITORING_FILE: files.monitoring_text(),
    }
    for file, text in texts.items():
        write_text(folder / file, text)


def binary_command(folder: Path, batch_sizes: list[int], jit: bool) -> list[str]:
    """The installed server's command line. Listens on all addresses."""
    return [
        files.BINARY,
        f"--port={files.GRPC_PORT}",
        f"--rest_api_port={files.REST_PORT}",
        f"--model_config_file={folder / files.MODELS_FILE}",
        f"--batching_parameters_file={folder / files.BATCHING_FILE}",
        f"--monitoring_config_file={folder / files.MONITORING_FILE}",
        *files.common_flags(batch_sizes, jit),
    ]


def docker_command(folder: Path, batch_sizes: list[int], jit: bool) -> list[str]:
    """The same in a container, which sees the folder under the same path.

    Its ports are those of this machine's loopback address.
    """
    binary, *flags = binary_command(folder, batch_sizes, jit)
    ports = (files.GRPC_PORT, files.REST_PORT)
    published = [word for port in ports for word in ("-p", f"127.0.0.1:{port}:{port}")]
    mounted = ["-v", f"{folder}:{folder}:ro"]
    entry = ["--entrypoint", binary, files.IMAGE]
    return ["docker", "run", "--rm", *published, *mounted, *entry, *flags]


if __name__ == "__main__":
    main()
