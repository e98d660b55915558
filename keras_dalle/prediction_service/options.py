"""The embedded server's flags: the stock server's, by their names.

One table for the command line and for `PredictionServer`. Imports no TensorFlow, so
that a wrong flag or file is known before seconds are spent on it.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

THREADS = 4 * (os.cpu_count() or 1)
MAX_PORT = 65535


def _flag(default: Any, help: str, **bounds: int) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, **bounds})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """What `keras-dalle serve` takes. Each field's meaning is its help text.

    Raises:
        ValueError: Flags contradict each other or a path does not exist.
    """

    host: str = _flag("127.0.0.1", "The address to listen on; the default is loopback.")
    port: int = _flag(8500, "For gRPC; 0: any free one.", min=0, max=MAX_PORT)
    rest_api_port: int | None = _flag(
        8501, "For REST and metrics; 0: any free one.", min=0, max=MAX_PORT
    )
    model_name: str = _flag("dalle", "The name that clients ask for.")
    model_base_path: Path | None = _flag(None, "The folder of the versions' folders.")
    model_config_file: Path | None = _flag(
        None, "Several models, version policies, labels: a ModelServerConfig in text."
    )
    model_config_file_poll_wait_seconds: float = _flag(
        0, "Read that file anew this often; 0: never.", min=0
    )
    file_system_poll_wait_seconds: float = _flag(
        1, "Look for new versions this often; 0: never.", min=0
    )
    max_num_load_retries: int = _flag(
        5, "Further tries for a new version that does not load.", min=0
    )
    load_retry_interval_micros: int = _flag(60_000_000, "Between such tries.", min=0)
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "Labels may name versions that are not loaded yet."
    )
    enable_model_warmup: bool = _flag(
        True, "Replay a version's warm-up requests before it answers others."
    )
    enable_batching: bool = _flag(False, "Run the requests of several callers at once.")
    batching_parameters_file: Path | None = _flag(
        None, "How to batch: BatchingParameters in text."
    )
    monitoring_config_file: Path | None = _flag(
        None, "Switches Prometheus metrics on: a MonitoringConfig in text."
    )
    ssl_config_file: Path | None = _flag(
        None, "TLS for gRPC, with or without client certificates: SSLConfig in text."
    )
    grpc_max_threads: int = _flag(
        THREADS, "Calls that run at once over gRPC; others wait.", min=1
    )
    rest_api_num_threads: int = _flag(
        THREADS, "Calls that run at once over REST; others wait.", min=1
    )
    rest_api_timeout_in_ms: int = _flag(30_000, "Of a call over REST.", min=1)
    rest_api_enable_cors_support: bool = _flag(
        False, "Let pages of other sites call the REST API."
    )
    enable_serialization_as_tensor_content: bool = _flag(
        False, "Answer with packed bytes in place of lists of values."
    )

    def __post_init__(self) -> None:
        if (self.model_base_path is None) == (self.model_config_file is None):
            raise ValueError(
                "Give either a model's base path or `--model_config_file`. Received: "
                f"{self.model_base_path} and {self.model_config_file}"
            )
        if self.batching_parameters_file is not None and not self.enable_batching:
            raise ValueError(
                "--batching_parameters_file is set without --enable_batching. Set both."
            )
        if self.port == self.rest_api_port != 0:
            raise ValueError(
                "--rest_api_port must be different from --port. Received: "
                f"{self.port} for both"
            )
        for flag in dataclasses.fields(self):
            least = flag.metadata.get("min")
            value = getattr(self, flag.name)
            if least is not None and value is not None and value < least:
                raise ValueError(
                    f"--{flag.name} must be at least {least}. Received: {value}"
                )
