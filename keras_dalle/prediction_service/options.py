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
BFLOAT16 = "bfloat16"


def _flag(default: Any, help: str, **bounds: float) -> Any:
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
    grpc_socket_path: Path | None = _flag(
        None, "A UNIX socket for gRPC, beside the port."
    )
    grpc_channel_arguments: str = _flag(
        "", "For gRPC: name=value,… such as grpc.max_connection_age_ms=2000."
    )
    enable_grpc_healthcheck_service: bool = _flag(
        True, "Answer gRPC's health checks; the stock server's default is false."
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
    num_request_iterations_for_warmup: int = _flag(
        0, "How often each of them; 0: once.", min=0
    )
    saved_model_tags: str = _flag("serve", "Of the graph to load: tag,tag,…")
    enable_signature_method_name_check: bool = _flag(
        False, "Take only signatures that were made for the call."
    )
    tensorflow_session_config_file: Path | None = _flag(
        None, "How TensorFlow runs: a ConfigProto in text."
    )
    tensorflow_intra_op_parallelism: int = _flag(
        0, "Threads for one operation; 0: one a core.", min=0
    )
    tensorflow_inter_op_parallelism: int = _flag(
        0, "Operations at once; 0: one a core.", min=0
    )
    tensorflow_session_parallelism: int = _flag(0, "Both of these.", min=0)
    per_process_gpu_memory_fraction: float = _flag(
        0.0, "Of a GPU's memory; 0: as needed.", min=0.0, max=1.0
    )
    mixed_precision: str = _flag("", "bfloat16: where oneDNN can, on a CPU that can.")
    enable_batching: bool = _flag(False, "Run the requests of several callers at once.")
    batching_parameters_file: Path | None = _flag(
        None, "How to batch: BatchingParameters in text."
    )
    enable_per_model_batching_parameters: bool = _flag(
        False, "Batch the versions with a batching_params.pbtxt, as that says."
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
        self._check_combinations()
        self._check_texts()
        self._check_bounds()

    def channel_arguments(self) -> list[tuple[str, int | str]]:
        """`grpc_channel_arguments` as gRPC takes them."""
        pairs = [word.partition("=") for word in self.grpc_channel_arguments.split(",")]
        return [
            (name, int(value) if value.lstrip("-").isdecimal() else value)
            for name, _, value in pairs
            if name
        ]

    def _check_combinations(self) -> None:
        if (self.model_base_path is None) == (self.model_config_file is None):
            raise ValueError(
                "Give either a model's base path or `--model_config_file`. Received: "
                f"{self.model_base_path} and {self.model_config_file}"
            )
        for name in (
            "batching_parameters_file",
            "enable_per_model_batching_parameters",
        ):
            if getattr(self, name) and not self.enable_batching:
                raise ValueError(
                    f"--{name} is set without --enable_batching. Set both."
                )
        if self.port == self.rest_api_port != 0:
            raise ValueError(
                "--rest_api_port must be different from --port. Received: "
                f"{self.port} for both"
            )
        threads = ("session", "intra_op", "inter_op")
        if all(getattr(self, f"tensorflow_{name}_parallelism") for name in threads):
            raise ValueError(
                "--tensorflow_session_parallelism stands for both "
                "--tensorflow_intra_op_parallelism and "
                "--tensorflow_inter_op_parallelism. Leave it out, or these."
            )

    def _check_texts(self) -> None:
        for argument in filter(None, self.grpc_channel_arguments.split(",")):
            if not all(argument.partition("=")):
                raise ValueError(
                    "--grpc_channel_arguments are name=value,… Received: "
                    f"{self.grpc_channel_arguments}"
                )
        if self.mixed_precision not in ("", BFLOAT16):
            raise ValueError(
                f"--mixed_precision can be {BFLOAT16}. Received: {self.mixed_precision}"
            )

    def _check_bounds(self) -> None:
        for flag in dataclasses.fields(self):
            least = flag.metadata.get("min")
            value = getattr(self, flag.name)
            if least is not None and value is not None and value < least:
                raise ValueError(
                    f"--{flag.name} must be at least {least}. Received: {value}"
                )
