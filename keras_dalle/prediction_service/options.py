"""The embedded server's flags: the stock server's, by their names.

One table for the command line and for `PredictionServer`. Imports no TensorFlow, so
that a wrong flag or file is known before seconds are spent on it.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any, get_type_hints

from keras_dalle.prediction_service.local_paths import local_path

THREADS = 4 * (os.cpu_count() or 1)
MAX_PORT = 65535
BFLOAT16 = "bfloat16"
SERVE = "serve"


def _flag(default: Any, help: str, **bounds: float) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, **bounds})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """What `keras-dalle serve` takes. Each field's meaning is its help text.

    A path may be given as text; a `file://` URI becomes a path.

    Raises:
        ValueError: Flags contradict each other, or a path is of another file system.
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
        None,
        "Several models, version policies, labels: a ModelServerConfig in text. With "
        "it --model_name and --model_base_path are not used.",
    )
    model_config_file_poll_wait_seconds: float = _flag(
        0, "Seconds between reads of that file; 0 or less: read once."
    )
    file_system_poll_wait_seconds: float = _flag(
        1, "Look for new versions this often; 0: never.", min=0
    )
    max_num_load_retries: int = _flag(
        5, "Number of further tries to load a failed version; 0 or less: none."
    )
    load_retry_interval_micros: int = _flag(
        60_000_000, "Microseconds between such tries; 0 or less: no wait."
    )
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "Labels may name versions that are not loaded yet."
    )
    enable_model_warmup: bool = _flag(
        True, "Replay a version's warm-up requests before it answers others."
    )
    num_request_iterations_for_warmup: int = _flag(
        0, "Number of runs of each warm-up request; 0 or less: one."
    )
    saved_model_tags: str = _flag(SERVE, "Tags of the graph to load: tag,tag,…")
    enable_signature_method_name_check: bool = _flag(
        False, "A call may use only signatures that were made for it."
    )
    tensorflow_session_config_file: Path | None = _flag(
        None, "How TensorFlow runs: a ConfigProto in text."
    )
    tensorflow_intra_op_parallelism: int = _flag(
        0, "Threads for one operation; 0: one for each core."
    )
    tensorflow_inter_op_parallelism: int = _flag(
        0, "Operations that run at once; 0: one for each core."
    )
    tensorflow_session_parallelism: int = _flag(0, "Both of these.")
    per_process_gpu_memory_fraction: float = _flag(
        0.0, "The part of a GPU's memory to take; 0: as needed.", min=0.0, max=1.0
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
    rest_api_timeout_in_ms: int = _flag(
        30_000, "Time for a call over REST; 0 or less: no limit."
    )
    rest_api_enable_cors_support: bool = _flag(
        False, "Let pages of other sites call the REST API."
    )
    enable_serialization_as_tensor_content: bool = _flag(
        False, "Answer with packed bytes in place of lists of values."
    )

    def __post_init__(self) -> None:
        self._make_paths()
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

    def tags(self) -> list[str]:
        """Returns `saved_model_tags`; an empty text stands for the default."""
        return [tag for tag in self.saved_model_tags.split(",") if tag] or [SERVE]

    def unused(self) -> dict[str, str]:
        """Returns the flags that have no effect beside the others, with the reasons."""
        found = {}
        if self.model_config_file is not None and self.model_base_path is not None:
            found["model_base_path"] = "the models are those of --model_config_file"
        if self.enable_per_model_batching_parameters and not self.enable_batching:
            found["enable_per_model_batching_parameters"] = "needs --enable_batching"
        if self.mixed_precision not in ("", BFLOAT16):
            found["mixed_precision"] = f"only {BFLOAT16} has an effect"
        return found

    def _make_paths(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in PATHS and value is not None:
                try:
                    path = local_path(value)
                except ValueError as error:
                    raise ValueError(f"--{field.name}: {error}") from error
                # The class is frozen for everybody else.
                object.__setattr__(self, field.name, path)

    def _check_combinations(self) -> None:
        if self.model_base_path is None and self.model_config_file is None:
            raise ValueError(
                "--model_base_path or --model_config_file must say what to serve. "
                "Received neither."
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
        threads = ("session", "intra_op", "inter_op")
        if all(getattr(self, f"tensorflow_{name}_parallelism") > 0 for name in threads):
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

    def _check_bounds(self) -> None:
        for flag in dataclasses.fields(self):
            least = flag.metadata.get("min")
            value = getattr(self, flag.name)
            if least is not None and value is not None and value < least:
                raise ValueError(
                    f"--{flag.name} must be at least {least}. Received: {value}"
                )


PATHS = frozenset(
    name for name, hint in get_type_hints(ServerOptions).items() if hint == Path | None
)
