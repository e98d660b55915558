"""Exports a preset and writes the Kubernetes objects that serve it with KServe.

The exported model is in FOLDER/model, to be copied to --storage-uri, where KServe
reads it; FOLDER/kserve.yaml has an InferenceService of KServe's own TensorFlow runtime
and a ConfigMap with the batching parameters, for `kubectl apply -f`.
"""

import shlex
from pathlib import Path
from typing import Any

import yaml

from export import server_files as files
from export.options import parser_of
from keras_dalle.utils.atomic import write_text
from keras_dalle.utils.tensorflow_start import prepare_tensorflow

MOUNT = "/etc/tf-serving"
OBJECTS_FILE = "kserve.yaml"
# The runtime's own version of TF Serving may be another.
RUNTIME_VERSION = files.IMAGE.partition(":")[2]


def main() -> None:
    prepare_tensorflow()
    parser = parser_of(
        __doc__,
        "python -m export.kserve emoji_tiny out/kserve --storage-uri gs://models/dalle",
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--storage-uri", required=True, help="gs://, s3://, pvc://, …")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--cpu", default="4", help="cores; default: 4")
    parser.add_argument("--memory", default="4Gi", help="default: 4Gi")
    parser.add_argument("--grpc", action="store_true", help="offer gRPC, not REST")
    arguments = parser.parse_args()
    path = files.export_preset(
        arguments.preset,
        arguments.folder / "model",
        arguments.batch_size,
        arguments.jit,
    )
    objects = arguments.folder / OBJECTS_FILE
    documents = [config_map(arguments), inference_service(arguments)]
    write_text(objects, yaml.safe_dump_all(documents, sort_keys=False))
    print(f"Exported {path}. Copy the folder, and then create the objects:")
    print(f"{shlex.quote(str(path.parent))} -> {arguments.storage_uri}")
    print(shlex.join(["kubectl", "apply", "-f", str(objects)]))


def config_map(arguments: Any) -> dict[str, Any]:
    """The files that the server reads beside the model."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(arguments, "-serving"),
        "data": {
            files.BATCHING_FILE: files.batching_text(arguments.batch_size),
            files.MONITORING_FILE: files.monitoring_text(),
        },
    }


def inference_service(arguments: Any) -> dict[str, Any]:
    """KServe adds `args` to those of its runtime, which knows base path and ports."""
    flags = [
        f"--batching_parameters_file={MOUNT}/{files.BATCHING_FILE}",
        f"--monitoring_config_file={MOUNT}/{files.MONITORING_FILE}",
        *files.common_flags(arguments.batch_size, arguments.jit),
    ]
    resources = {"cpu": arguments.cpu, "memory": arguments.memory}
    model: dict[str, Any] = {
        "modelFormat": {"name": "tensorflow"},
        "runtimeVersion": RUNTIME_VERSION,
        "storageUri": arguments.storage_uri,
        "args": flags,
        "resources": {"requests": resources, "limits": dict(resources)},
        "volumeMounts": [{"name": "serving", "mountPath": MOUNT, "readOnly": True}],
    }
    if arguments.grpc:
        model["ports"] = [{"name": "h2c", "containerPort": 9000, "protocol": "TCP"}]
    volume = {"name": "serving", "configMap": {"name": f"{arguments.name}-serving"}}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": _metadata(arguments),
        "spec": {
            "predictor": {"minReplicas": 1, "model": model, "volumes": [volume]},
        },
    }


def _metadata(arguments: Any, suffix: str = "") -> dict[str, str]:
    return {"name": arguments.name + suffix, "namespace": arguments.namespace}


if __name__ == "__main__":
    main()
