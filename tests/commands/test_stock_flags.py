"""Flags that only the stock server follows, on the command line of `serve`."""

import click
import pytest
from typer.testing import CliRunner

from keras_dalle.cli import app
from keras_dalle.prediction_service.options import ServerOptions
from keras_dalle.prediction_service.stock_only_flags import STOCK_ONLY_FLAGS

# Those that tensorflow_model_server 2.20 declares in main.cc.
STOCK_FLAGS = {
    "port",
    "grpc_socket_path",
    "rest_api_port",
    "rest_api_num_threads",
    "rest_api_timeout_in_ms",
    "rest_api_enable_cors_support",
    "enable_batching",
    "allow_version_labels_for_unavailable_models",
    "batching_parameters_file",
    "enable_per_model_batching_parameters",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "model_name",
    "model_base_path",
    "num_load_threads",
    "num_unload_threads",
    "max_num_load_retries",
    "load_retry_interval_micros",
    "file_system_poll_wait_seconds",
    "flush_filesystem_caches",
    "tensorflow_session_parallelism",
    "tensorflow_session_config_file",
    "tensorflow_intra_op_parallelism",
    "tensorflow_inter_op_parallelism",
    "use_alts_credentials",
    "ssl_config_file",
    "platform_config_file",
    "per_process_gpu_memory_fraction",
    "saved_model_tags",
    "grpc_channel_arguments",
    "grpc_max_threads",
    "enable_model_warmup",
    "num_request_iterations_for_warmup",
    "version",
    "monitoring_config_file",
    "remove_unused_fields_from_bundle_metagraph",
    "prefer_tflite_model",
    "num_tflite_pools",
    "num_tflite_interpreters_per_pool",
    "enable_signature_method_name_check",
    "xla_cpu_compilation_enabled",
    "xla_gpu_compilation_enabled",
    "enable_profiler",
    "thread_pool_factory_config_file",
    "mixed_precision",
    "skip_initialize_tpu",
    "enable_grpc_healthcheck_service",
    "enable_serialization_as_tensor_content",
}


def message(*arguments):
    result = CliRunner().invoke(app, ["serve", *map(str, arguments)])
    assert result.exit_code != 0
    return " ".join(click.unstyle(result.stderr).replace("│", " ").split())


def test_every_flag_is_known():
    own = set(ServerOptions.__dataclass_fields__) | {"version"}
    assert (own - {"host"}) | set(STOCK_ONLY_FLAGS) == STOCK_FLAGS


@pytest.mark.parametrize("name", STOCK_ONLY_FLAGS)
def test_what_is_not_followed_is_refused_with_what_is_done_instead(tmp_path, name):
    text = message(tmp_path, f"--{name}=9")
    assert f"--{name}=9 is for the stock server" in text
    assert STOCK_ONLY_FLAGS[name].instead in text


@pytest.mark.parametrize(
    "name", [name for name, flag in STOCK_ONLY_FLAGS.items() if flag.taken]
)
def test_what_is_done_anyway_is_taken(tmp_path, name):
    taken = STOCK_ONLY_FLAGS[name].taken
    assert "No versions of servable" in message(
        tmp_path, f"--{name}={taken}", "--port=0", "--rest_api_port=0"
    )


def test_a_flag_given_alone_is_true(tmp_path):
    assert "--enable_profiler=true is for" in message(tmp_path, "--enable_profiler")


def test_version():
    result = CliRunner().invoke(app, ["serve", "--version"])
    assert result.exit_code == 0
    names = [line.split()[0] for line in result.stdout.splitlines()]
    assert names == ["keras-dalle", "tensorflow"]


@pytest.mark.parametrize(
    "flags, text",
    [
        (["--mixed_precision=float16"], "can be bfloat16. Received: float16"),
        (["--grpc_channel_arguments=a"], "are name=value,… Received: a"),
        (["--enable_per_model_batching_parameters"], "without --enable_batching"),
        (
            [
                f"--tensorflow_{name}_parallelism=2"
                for name in ("session", "intra_op", "inter_op")
            ],
            "stands for both",
        ),
    ],
)
def test_refused_values(tmp_path, flags, text):
    assert text in message(tmp_path, *flags)
