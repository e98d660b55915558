"""Exports a preset for Vertex AI: the stock TF Serving image as a custom container.

FOLDER gets the versions and batching.config. Printed are the commands that copy it to
--artifact-uri, upload the model, make an endpoint and deploy it; --run runs them, with
the account and project of gcloud. Vertex AI takes images from Artifact Registry alone,
so --image is your copy of the stock one.
"""

import shlex
import subprocess
from pathlib import Path
from typing import Any

from export import server_files as files
from export.options import parser_of
from keras_dalle.utils.atomic import write_text
from keras_dalle.utils.tensorflow_start import prepare_tensorflow

# Vertex AI puts the copied folder's gs:// address in here.
STORAGE = "$(AIP_STORAGE_URI)"
# A model that was uploaded does not change.
NEVER_S = 31_540_000


def main() -> None:
    prepare_tensorflow()
    parser = parser_of(
        __doc__,
        "python -m export.vertex_ai emoji_tiny out/vertex --region europe-west4 "
        "--artifact-uri gs://BUCKET/dalle "
        f"--image europe-west4-docker.pkg.dev/PROJECT/REPOSITORY/{files.IMAGE}",
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--region", required=True)
    parser.add_argument("--artifact-uri", required=True, help="gs://…")
    parser.add_argument("--image", required=True, help=f"a copy of {files.IMAGE}")
    parser.add_argument("--machine-type", default="n1-standard-8")
    parser.add_argument("--run", action="store_true", help="run the commands, too")
    arguments = parser.parse_args()
    path = files.export_preset(
        arguments.preset, arguments.folder, arguments.batch_size, arguments.jit
    )
    text = files.batching_text(arguments.batch_size)
    write_text(arguments.folder / files.BATCHING_FILE, text)
    print(f"Exported {path}.")
    for command in commands(arguments):
        print(shlex.join(command), flush=True)
        if arguments.run:
            subprocess.run(command, check=True)


def commands(arguments: Any) -> list[list[str]]:
    """Copy, upload, make an endpoint, deploy."""
    uri = arguments.artifact_uri.rstrip("/")
    region = f"--region={arguments.region}"
    # One id for model and endpoint, so that no command needs the answer of another.
    name = arguments.name
    return [
        ["gcloud", "storage", "rsync", "--recursive", str(arguments.folder), uri],
        ["gcloud", "ai", "models", "upload", region, *_upload_flags(arguments, uri)],
        [
            *("gcloud", "ai", "endpoints", "create", region),
            *(f"--display-name={name}", f"--endpoint-id={name}"),
        ],
        [
            *("gcloud", "ai", "endpoints", "deploy-model", name, region),
            *(f"--model={name}", f"--display-name={name}"),
            *(f"--machine-type={arguments.machine_type}", "--min-replica-count=1"),
        ],
    ]


def _upload_flags(arguments: Any, uri: str) -> list[str]:
    route = f"/v1/models/{arguments.name}"
    server_flags = [
        f"--port={files.GRPC_PORT}",
        f"--rest_api_port={files.REST_PORT}",
        f"--model_name={arguments.name}",
        f"--model_base_path={STORAGE}",
        f"--file_system_poll_wait_seconds={NEVER_S}",
        f"--batching_parameters_file={STORAGE}/{files.BATCHING_FILE}",
        *files.common_flags(arguments.batch_size, arguments.jit),
    ]
    return [
        f"--model-id={arguments.name}",
        f"--display-name={arguments.name}",
        f"--artifact-uri={uri}",
        f"--container-image-uri={arguments.image}",
        f"--container-command={files.BINARY}",
        f"--container-args={','.join(server_flags)}",
        f"--container-ports={files.REST_PORT}",
        f"--container-health-route={route}",
        f"--container-predict-route={route}:predict",
    ]


if __name__ == "__main__":
    main()
