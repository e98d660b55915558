"""Flags of the stock server, each by what it changes for a client."""

import http.client
import shutil
import socket
import threading

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import classification_pb2, prediction_service_pb2_grpc

from keras_dalle.prediction_service import server as server_module
from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.options import ServerOptions
from keras_dalle.prediction_service.server import PredictionServer
from keras_dalle.prediction_service.session_config import session_config
from tests.serving_contract.models import HalfPlus, Slow, save
from tests.serving_contract.running_server import (
    PATIENCE_S,
    RunningServer,
    predict_request,
    refusal,
    wait_for,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flags")
    for name, module in {"half": HalfPlus(2.0), "slow": Slow()}.items():
        (folder / name).mkdir()
        save(module, folder / name / "1")
    return folder


@pytest.fixture
def serve():
    """Starts servers with flags; `last` is the last one itself."""
    servers = []

    def start(base_path, **flags):
        server = PredictionServer(
            base_path, model_name="m", port=0, **{"rest_api_port": None, **flags}
        )
        server.start()
        rest = f"127.0.0.1:{server.rest_api_port}"
        running = RunningServer(f"127.0.0.1:{server.port}", rest, None)
        servers.append((server, running))
        start.last = server
        return running

    yield start
    for server, running in servers:
        running.channel.close()
        server.stop(grace=0)


def ask(server, method, path, body=None, **headers):
    """Status, headers and body of an answer over HTTP."""
    connection = http.client.HTTPConnection(server.rest_address, timeout=PATIENCE_S)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, response.headers, content


def test_defaults():
    options = ServerOptions(model_base_path="x")
    assert (options.host, options.port, options.rest_api_port) == (
        "127.0.0.1",
        8500,
        8501,
    )
    assert options.model_name == "dalle"


def test_a_socket_beside_the_port(serve, folder, tmp_path):
    server = serve(folder / "half", grpc_socket_path=tmp_path / "grpc")
    assert server.y_of([2.0], "m") == [3.0]
    with grpc.insecure_channel(f"unix:{tmp_path / 'grpc'}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Predict(predict_request("m", x=[2.0]), timeout=PATIENCE_S)
        assert list(response.outputs["y"].float_val) == [3.0]


def test_arguments_for_grpc(serve, folder):
    """Sets 7 MB in place of 64 MB; larger messages get gRPC's own text."""
    limit = "grpc.max_receive_message_length=7000000,grpc.primary_user_agent=a"
    server = serve(folder / "half", grpc_channel_arguments=limit)
    response = server.prediction.Predict(
        predict_request("m", x=np.ones(1_600_000, "f"))
    )
    assert set(response.outputs["y"].float_val) == {2.5}
    large = predict_request("m", x=np.ones(1_800_000, "f"))
    code, text = refusal(server.prediction.Predict, large)
    assert code == "RESOURCE_EXHAUSTED"
    assert "eceived message larger than max (7200" in text and "vs. 7000000)" in text


def test_arguments_that_free_threads_from_calls_without_a_message(serve, folder):
    age = "grpc.max_connection_age_ms=500,grpc.max_connection_age_grace_ms=500"
    server = serve(folder / "half", grpc_channel_arguments=age, grpc_max_threads=1)
    ends = threading.Event()
    with grpc.insecure_channel(server.grpc_address) as channel:
        # As a unary call whose message never comes.
        method = channel.stream_unary("/tensorflow.serving.PredictionService/Predict")
        silent = method.future(iter(ends.wait, True), timeout=PATIENCE_S)
        assert silent.code() == grpc.StatusCode.UNAVAILABLE
        ends.set()
    assert server.y_of([2.0], "m") == [3.0]


def test_calls_at_once_and_those_that_wait(serve, folder, monkeypatch):
    monkeypatch.setattr(server_module, "MAX_WAITING_CALLS", 1)
    server = serve(folder / "slow", grpc_max_threads=1)

    def call(x, seconds):
        return server.prediction.Predict.future(
            predict_request("m", x=[x]), timeout=seconds
        )

    slow = call(1.0, 3.0)
    wait_for(lambda: serve.last._calls.number == 1)
    # Whichever of them comes first waits.
    outcomes = []
    for quick in [call(0.0, PATIENCE_S) for _ in range(2)]:
        try:
            outcomes.append(list(quick.result().outputs["y"].float_val))
        except grpc.RpcError as error:
            outcomes.append(f"{error.code().name}: {error.details()}")
    assert slow.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    refused = "RESOURCE_EXHAUSTED: Concurrent RPC limit exceeded!"
    assert sorted(outcomes, key=str) == [refused, [0.0]]


def test_answers_in_packed_bytes(serve, folder):
    server = serve(folder / "half", enable_serialization_as_tensor_content=True)
    response = server.prediction.Predict(predict_request("m", x=[2.0]))
    y = response.outputs["y"]
    assert list(y.float_val) == []
    assert np.frombuffer(y.tensor_content, "<f4").tolist() == [3.0]


def test_pages_of_other_sites(serve, folder):
    path, body = "/v1/models/m:predict", b'{"instances": [2.0]}'
    header = "Access-Control-Allow-Origin"
    closed = serve(folder / "half", rest_api_port=0)
    assert header not in ask(closed, "POST", path, body)[1]
    opened = serve(folder / "half", rest_api_port=0, rest_api_enable_cors_support=True)
    assert ask(opened, "POST", path, body)[1][header] == "*"
    assert ask(opened, "OPTIONS", path)[0] == 400
    status, headers, _ = ask(opened, "OPTIONS", path, Origin="http://localhost")
    assert status == 200 and headers["Access-Control-Allow-Methods"] == "POST, GET"


def test_a_deadline_over_rest(serve, folder):
    server = serve(folder / "slow", rest_api_port=0, rest_api_timeout_in_ms=300)
    assert server.rest("/v1/models/m:predict", {"instances": [1.0]})[0] == 504
    answer = server.rest("/v1/models/m:predict", {"instances": [0.0]})
    assert answer == (200, {"predictions": [0.0]})


@pytest.mark.parametrize("milliseconds", [0, -1])
def test_no_deadline_over_rest(serve, folder, milliseconds):
    """A call that takes minutes has no answer yet after more than any of its limits."""
    server = serve(
        folder / "slow", rest_api_port=0, rest_api_timeout_in_ms=milliseconds
    )
    host, _, port = server.rest_address.partition(":")
    with socket.create_connection((host, int(port)), PATIENCE_S) as client:
        body = b'{"instances": [1.0]}'
        head = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: a\r\nContent-Length: "
        client.sendall(head + str(len(body)).encode() + b"\r\n\r\n" + body)
        client.settimeout(1.5)
        with pytest.raises(TimeoutError):
            client.recv(1)
    answer = server.rest("/v1/models/m:predict", {"instances": [0.0]})
    assert answer == (200, {"predictions": [0.0]})


def test_metrics_are_where_the_file_says(serve, folder, tmp_path):
    path = "/monitoring/prometheus/metrics"
    assert ask(serve(folder / "half", rest_api_port=0), "GET", path)[0] == 404
    file = tmp_path / "monitoring.config"
    file.write_text('prometheus_config { enable: true path: "/metrics" }')
    server = serve(folder / "half", rest_api_port=0, monitoring_config_file=file)
    assert ask(server, "GET", path)[0] == 404
    status, _, page = ask(server, "GET", "/metrics")
    assert status == 200 and b":tensorflow:serving:request_count" in page


def test_metrics_of_batches(serve, folder, tmp_path):
    file = tmp_path / "monitoring.config"
    file.write_text("prometheus_config { enable: true }")
    flags = {"rest_api_port": 0, "monitoring_config_file": file}
    server = serve(folder / "half", enable_batching=True, **flags)
    assert server.y_of([2.0], "m") == [3.0]
    page = server.text("/monitoring/prometheus/metrics")
    prefix = ":tensorflow:serving:batching_session:"
    for line in (
        f"# TYPE {prefix}queuing_latency histogram",
        f'{prefix}queuing_latency_count{{thread_pool_name="',
        f"# TYPE {prefix}processed_batch_size histogram",
        f"{prefix}processed_batch_size_count",
        f"# TYPE {prefix}wrapped_run_count counter",
    ):
        assert f"\n{line}" in page, line


def test_it_listens_on_loopback_alone(serve, folder):
    """At no other address of this machine, such as the second one of loopback."""
    server = serve(folder / "half", rest_api_port=0)
    for address in (server.grpc_address, server.rest_address):
        port = int(address.rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port), PATIENCE_S).close()
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.2", port), PATIENCE_S)
    everywhere = serve(folder / "half", rest_api_port=0, host="0.0.0.0")
    for address in (everywhere.grpc_address, everywhere.rest_address):
        port = int(address.rpartition(":")[2])
        socket.create_connection(("127.0.0.2", port), PATIENCE_S).close()


def test_health_can_be_left_out(serve, folder):
    server = serve(folder / "half", enable_grpc_healthcheck_service=False)
    stub = health_pb2_grpc.HealthStub(server.channel)
    code, _ = refusal(stub.Check, health_pb2.HealthCheckRequest())
    assert code == "UNIMPLEMENTED"


def test_tags_of_the_graph(serve, folder):
    assert serve(folder / "half", saved_model_tags="serve").y_of([2.0], "m") == [3.0]
    with pytest.raises(
        ServingError, match="Could not find meta graph def matching .*: { serve gpu }"
    ):
        serve(folder / "half", saved_model_tags="serve,gpu")


def test_method_names_are_checked_where_asked(serve, folder):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "m"
    lenient = serve(folder / "half")
    _, text = refusal(lenient.prediction.Classify, request)
    assert text.startswith("No classification inputs found")
    strict = serve(folder / "half", enable_signature_method_name_check=True)
    assert refusal(strict.prediction.Classify, request) == (
        "INVALID_ARGUMENT",
        "Expected classification signature method_name to be "
        "tensorflow/serving/classify. Was: tensorflow/serving/predict",
    )
    assert strict.y_of([2.0], "m") == [3.0]


def test_a_version_may_say_how_it_is_batched(serve, folder, tmp_path):
    shutil.copytree(folder / "half", tmp_path / "own")
    file = tmp_path / "own" / "1" / "batching_params.pbtxt"
    file.write_text("max_batch_size { value: 2 }")
    flags = {"enable_batching": True, "enable_per_model_batching_parameters": True}
    three_rows = predict_request("m", x=[1.0, 2.0, 3.0])
    code, text = refusal(
        serve(tmp_path / "own", **flags).prediction.Predict, three_rows
    )
    assert code == "INVALID_ARGUMENT"
    assert "Task size 3 is larger than maximum input batch size 2" in text
    # Without such a file a version is not batched, and takes a scalar too.
    assert serve(folder / "half", **flags).y_of(2.0, "m") == [3.0]
    file.write_text("max_batch_size { value: 0 }")
    with pytest.raises(ServingError, match="max_batch_size must be positive"):
        serve(tmp_path / "own", **flags)


def test_a_configuration_of_the_session(serve, folder, tmp_path):
    file = tmp_path / "session.config"
    file.write_text("operation_timeout_in_ms: 300")
    # Over gRPC each call has a deadline, which takes the place of the session's.
    flags = {"rest_api_port": 0, "rest_api_timeout_in_ms": 0}
    server = serve(folder / "slow", tensorflow_session_config_file=file, **flags)
    assert server.rest("/v1/models/m:predict", {"instances": [1.0]})[0] == 504
    file.write_text("operation_timeout: 300")
    with pytest.raises(ValueError, match="tensorflow.ConfigProto: 1:1"):
        serve(folder / "slow", tensorflow_session_config_file=file)


@pytest.mark.parametrize(
    "flags, threads",
    [
        ({}, (0, 0)),
        ({"tensorflow_session_parallelism": 3}, (3, 3)),
        ({"tensorflow_intra_op_parallelism": 2}, (2, 0)),
        (
            {
                "tensorflow_intra_op_parallelism": 1,
                "tensorflow_inter_op_parallelism": 2,
            },
            (1, 2),
        ),
    ],
)
def test_threads(flags, threads):
    config = session_config(ServerOptions(model_base_path="x", **flags))
    found = (config.intra_op_parallelism_threads, config.inter_op_parallelism_threads)
    assert found == threads


def test_memory_and_precision():
    options = ServerOptions(
        model_base_path="x",
        per_process_gpu_memory_fraction=0.25,
        mixed_precision="bfloat16",
    )
    config = session_config(options)
    assert config.gpu_options.per_process_gpu_memory_fraction == 0.25
    rewrites = config.graph_options.rewrite_options
    assert rewrites.auto_mixed_precision_onednn_bfloat16 == rewrites.ON
