"""Flags that only the stock server follows, on the command line of `serve`."""

import socket

import click
import pytest
from typer.testing import CliRunner

from keras_dalle.cli import app
from keras_dalle.prediction_service.options import PATHS, ServerOptions
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


@pytest.fixture
def busy():
    """Flags of a server that ends before it loads TensorFlow's models."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield [f"--port={taken.getsockname()[1]}", "--rest_api_port=0"]


def message(*arguments):
    result = CliRunner().invoke(app, ["serve", *map(str, arguments)])
    assert result.exit_code != 0
    return " ".join(click.unstyle(result.stderr).replace("│", " ").split())


def test_every_flag_is_known():
    own = set(ServerOptions.__dataclass_fields__) | {"version"}
    assert (own - {"host"}) | set(STOCK_ONLY_FLAGS) == STOCK_FLAGS


def test_what_changes_nothing_is_taken_at_any_value_and_said_in_one_line(
    tmp_path, busy
):
    taken = {n: flag for n, flag in STOCK_ONLY_FLAGS.items() if flag.only is None}
    flags = [f"--{name}=any{number}" for number, name in enumerate(taken)]
    text = message(tmp_path, *flags, *busy)
    reasons = [f"{f} ({t.reason})" for f, t in zip(flags, taken.values(), strict=True)]
    assert text.startswith(f"Without effect here: {', '.join(reasons)}. Error: ")
    assert "Cannot listen on" in text


@pytest.mark.parametrize(
    "arguments", [["--num_load_threads", "7"], ["--enable_profiler"]]
)
def test_values_of_their_own_and_switches_alone(tmp_path, busy, arguments):
    text = message(*arguments, tmp_path, *busy)
    assert f"{arguments[0]}={'7' if arguments[1:] else 'true'} (" in text
    assert "Cannot listen on" in text


@pytest.mark.parametrize(
    "flag", ["--use_alts_credentials", "--platform_config_file=/platforms.config"]
)
def test_what_would_be_a_promise_is_refused(tmp_path, flag):
    text = message(tmp_path, flag)
    assert f"{flag} is for" in text or f"{flag}=true is for" in text
    assert "run tensorflow_model_server" in text


@pytest.mark.parametrize(
    "flag", ["--use_alts_credentials=false", "--platform_config_file="]
)
def test_what_asks_for_nothing_is_taken(tmp_path, busy, flag):
    assert "Cannot listen on" in message(tmp_path, flag, *busy)


@pytest.mark.parametrize("value", ["1", "0", "True", "yes", ""])
def test_switches_have_the_stock_parsers_spellings(tmp_path, value):
    text = message(tmp_path, f"--enable_batching={value}")
    assert "a switch is given alone, as =true or as =false" in text
    assert f"Received: '{value}'" in text


@pytest.mark.parametrize(
    "flags, on",
    [
        ([], False),
        (["--enable_batching"], True),
        (["--enable_batching=true"], True),
        (["--enable_batching=true", "--enable_batching=false"], False),
    ],
)
def test_what_a_switch_says(tmp_path, busy, flags, on):
    """Tests it with a parameters file, which is an error without batching."""
    file = tmp_path / "batching.config"
    file.write_text("")
    text = message(tmp_path, f"--batching_parameters_file={file}", *flags, *busy)
    assert ("Cannot listen on" in text) == on
    assert ("is set without --enable_batching" in text) == (not on)


@pytest.mark.parametrize(
    "flag", sorted({f"--{name}" for name in PATHS} - {"--model_base_path"})
)
def test_an_empty_path_is_none(tmp_path, busy, flag):
    assert "Cannot listen on" in message(tmp_path, f"{flag}=x", f"{flag}=", *busy)


@pytest.mark.parametrize(
    "flag",
    [
        "--load_retry_interval_micros=-1",
        "--max_num_load_retries=-1",
        "--rest_api_timeout_in_ms=0",
        "--rest_api_timeout_in_ms=-1",
        "--num_request_iterations_for_warmup=-1",
        "--tensorflow_inter_op_parallelism=-1",
        "--model_config_file_poll_wait_seconds=-1",
        "--saved_model_tags=",
        "--mixed_precision=float16",
        "--enable_per_model_batching_parameters",
    ],
)
def test_values_that_the_stock_server_takes(tmp_path, busy, flag):
    assert "Cannot listen on" in message(tmp_path, flag, *busy)


@pytest.mark.parametrize("uri", ["gs://bucket/dalle", "hdfs://host:9000/m"])
def test_a_base_path_elsewhere_is_refused_by_name(uri):
    for arguments in ([uri], [f"--model_base_path={uri}"]):
        text = message(*arguments)
        assert f"Received: '{uri}'. Copy the files to a local folder" in text


def test_version():
    result = CliRunner().invoke(app, ["serve", "--version"])
    assert result.exit_code == 0
    names = [line.split()[0] for line in result.stdout.splitlines()]
    assert names == ["keras-dalle", "tensorflow"]


@pytest.mark.parametrize(
    "flags, text",
    [
        (["--grpc_channel_arguments=a"], "are name=value,… Received: a"),
        (["--model_base_path=x"], "Give either DIRECTORY or --model_base_path"),
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
