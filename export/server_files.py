"""What all deployments share: a checked export, server files and server flags."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path

from keras_dalle.commands.preset_names import load_task, preset_facts
from keras_dalle.utils.writable import check_folder_place

IMAGE = "tensorflow/serving:2.20.0"
BINARY = "tensorflow_model_server"
GRPC_PORT, REST_PORT = 8500, 8501
METRICS_PATH = "/monitoring/prometheus/metrics"
# Generation takes seconds, and the default is 30.
REST_TIMEOUT_MS = 300_000
# `keras_dalle.saved_model.card_file.XLA_FLAG`, without importing TensorFlow.
XLA_FLAG = "--xla_cpu_compilation_enabled=true"

MODELS_FILE = "models.config"
BATCHING_FILE = "batching.config"
MONITORING_FILE = "monitoring.config"


def export_preset(
    preset: str, base_path: Path, batch_sizes: Sequence[int], jit: bool = False
) -> Path:
    """Exports the next version, checked, with warm-up requests of these sizes."""
    check_folder_place(base_path)
    from keras_dalle.saved_model.exporter import export_saved_model
    from keras_dalle.saved_model.verify import verify_saved_model

    return export_saved_model(
        load_task(preset),
        base_path,
        warmup_batch_sizes=batch_sizes,
        preset=preset_facts(preset),
        jit=jit,
        check=functools.partial(verify_saved_model, allow_jit=jit),
    )


def models_text(name: str, base_path: Path | str) -> str:
    """A ModelServerConfig of one model; its latest version is served."""
    # Text protos escape as JSON does.
    path = json.dumps(str(base_path), ensure_ascii=False)
    return (
        "model_config_list {\n"
        f'  config {{ name: "{name}" base_path: {path} '
        'model_platform: "tensorflow" }\n'
        "}\n"
    )


def batching_text(batch_sizes: Sequence[int]) -> str:
    """BatchingParameters: few and short queues, since a batch takes seconds."""
    sizes = sorted(set(batch_sizes))
    lines = [
        f"max_batch_size {{ value: {sizes[-1]} }}",
        "batch_timeout_micros { value: 50000 }",
        "max_enqueued_batches { value: 4 }",
        "num_batch_threads { value: 1 }",
        *(f"allowed_batch_sizes: {size}" for size in sizes),
    ]
    return "\n".join(lines) + "\n"


def monitoring_text() -> str:
    """A MonitoringConfig: Prometheus metrics on the REST port."""
    return f'prometheus_config {{ enable: true path: "{METRICS_PATH}" }}\n'


def common_flags(batch_sizes: Sequence[int], jit: bool = False) -> list[str]:
    """Server flags that do not depend on where the files are.

    A call that waits for its batch holds a thread, hence twice as many as rows.
    """
    return [
        "--enable_batching=true",
        f"--rest_api_timeout_in_ms={REST_TIMEOUT_MS}",
        f"--grpc_max_threads={max(8, 2 * max(batch_sizes))}",
        "--enable_grpc_healthcheck_service=true",
        *([XLA_FLAG] if jit else []),
    ]
