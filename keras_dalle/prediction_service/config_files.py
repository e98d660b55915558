"""What the server's files say, read and checked before anything is loaded."""

import dataclasses
from pathlib import Path
from typing import Any

from tensorflow_serving.config.model_server_config_pb2 import (
    ModelConfig,
    ModelServerConfig,
)

from keras_dalle.prediction_service.batching_options import (
    BatchingOptions,
    batching_options,
)
from keras_dalle.prediction_service.local_paths import local_path
from keras_dalle.prediction_service.options import ServerOptions
from keras_dalle.prediction_service.text_protos import (
    BatchingParameters,
    MonitoringConfig,
    SSLConfig,
    read_text_proto,
)

METRICS_PATH = "/monitoring/prometheus/metrics"
VERSION_BATCHING_FILE = "batching_params.pbtxt"


@dataclasses.dataclass(frozen=True)
class ConfigFiles:
    """The contents of the files that the flags name."""

    models: ModelServerConfig
    metrics_path: str | None
    batching: BatchingOptions | None
    tls: Any | None


def read_files(options: ServerOptions) -> ConfigFiles:
    """Reads them.

    Raises:
        ValueError: One holds something else, or a value that is refused.
        OSError: One cannot be read.
    """
    return ConfigFiles(
        read_models(options), _metrics_path(options), _batching(options), _tls(options)
    )


def read_models(options: ServerOptions) -> ModelServerConfig:
    """Returns the models to serve, from the file or else from the flags.

    Raises:
        ValueError: The file is no such configuration, or a model is not on this
            machine.
        OSError: It cannot be read.
    """
    if options.model_config_file is not None:
        config = read_text_proto(options.model_config_file, ModelServerConfig)
        for model in config.model_config_list.config:
            _check_base_path(model, options.model_config_file)
        return config
    if options.model_base_path is None:
        raise ValueError("Neither a configuration file nor a base path is given.")
    config = ModelServerConfig()
    config.model_config_list.config.add(
        name=options.model_name,
        base_path=str(options.model_base_path.absolute()),
        model_platform="tensorflow",
    )
    return config


def read_version_batching(path: Path) -> BatchingOptions | None:
    """How a version itself says that it is to be batched, if it does.

    Raises:
        ValueError: The file in its folder holds something else.
        OSError: It cannot be read.
    """
    file = path / VERSION_BATCHING_FILE
    if not file.exists():
        return None
    return batching_options(read_text_proto(file, BatchingParameters))


def _check_base_path(model: ModelConfig, file: Path) -> None:
    try:
        local_path(model.base_path)
    except ValueError as error:
        raise ValueError(f"{file}: `base_path` of {model.name}: {error}") from error


def _metrics_path(options: ServerOptions) -> str | None:
    if options.monitoring_config_file is None:
        return None
    file = read_text_proto(options.monitoring_config_file, MonitoringConfig)
    prometheus = file.prometheus_config
    return (prometheus.path or METRICS_PATH) if prometheus.enable else None


def _batching(options: ServerOptions) -> BatchingOptions | None:
    if not options.enable_batching:
        return None
    if options.batching_parameters_file is None:
        return BatchingOptions()
    return batching_options(
        read_text_proto(options.batching_parameters_file, BatchingParameters)
    )


def _tls(options: ServerOptions) -> Any | None:
    if options.ssl_config_file is None:
        return None
    file = read_text_proto(options.ssl_config_file, SSLConfig)
    needed = ["server_key", "server_cert"] + ["custom_ca"] * file.client_verify
    if missing := [name for name in needed if not getattr(file, name)]:
        # Not the file's content: it holds a key.
        raise ValueError(
            f"{options.ssl_config_file} must have the PEM texts of "
            f"{', '.join(missing)}, which it lacks."
        )
    return file
