"""What goes wrong around a server: kills, clients that leave, queues that fill."""

import http.client
import os
import shutil
import signal
import threading
import time

import grpc
import pytest

from keras_dalle.prediction_service.server import PredictionServer
from tests.serving_contract.models import (
    CONFIG_FILE,
    Slow,
    config_text,
    save,
    write_models,
)
from tests.serving_contract.running_server import (
    RunningServer,
    embedded_server,
    predict_request,
    refusal,
)

ENDED_BY_DEADLINE = (
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAVAILABLE,
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("faults") / "models").parent


@pytest.fixture
def in_process(models):
    """Makes servers in this process."""
    servers = []

    def make(**flags):
        flags = {"port": 0, "rest_api_port": 0, **flags}
        server = PredictionServer(**flags)
        server.start()
        address = f"{server._options.host}:"
        running = RunningServer(
            f"{address}{server.port}", f"{address}{server.rest_api_port}", models
        )
        servers.append((server, running))
        return running

    yield make
    for server, running in servers:
        running.channel.close()
        server.stop(grace=0)


def test_kill_restart_and_an_orderly_end(models):
    """Three stories of one server, since starting one takes seconds."""
    flags = [
        f"--model_config_file={models / CONFIG_FILE}",
        "--rest_api_timeout_in_ms=1500",
    ]
    with embedded_server(*flags) as server:
        port = server.grpc_address.rpartition(":")[2]
        assert server.y_of([2.0]) == [3.0]
        channel = grpc.insecure_channel(server.grpc_address)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(10)
    with embedded_server(*flags, f"--port={port}") as server, channel:
        # The client of before goes on, without being made anew.
        stub = type(server.prediction)(channel)
        request = predict_request("half_plus_two", x=[2.0])
        response = stub.Predict(request, timeout=30, wait_for_ready=True)
        assert list(response.outputs["y"].float_val) == [3.0]

        start = time.monotonic()
        slow = server.prediction.Predict.future(
            predict_request("slow", x=[1.0]), timeout=2.0
        )
        rest = []
        asking = threading.Thread(
            target=lambda: rest.append(
                server.rest("/v1/models/slow:predict", {"instances": [1.0]})
            )
        )
        asking.start()
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert refusal(server.prediction.Predict, request)[0] == "UNAVAILABLE"
        # They end by their own deadlines, and are not cut off before. At the deadline
        # the server may be gone a moment before the client's own clock has run out.
        assert slow.code() in ENDED_BY_DEADLINE
        assert time.monotonic() - start >= 1.95
        asking.join()
        assert [status for status, _ in rest] == [504]
        assert server.process.wait(20) == 0


def test_clients_that_vanish(in_process, models):
    server = in_process(
        model_config_file=models / CONFIG_FILE, rest_api_timeout_in_ms=500
    )
    address = server.grpc_address
    for _ in range(3 * (os.cpu_count() or 1)):
        with grpc.insecure_channel(address) as channel:
            stub = type(server.prediction)(channel)
            call = stub.Predict.future(predict_request("slow", x=[1.0]), timeout=0.5)
            time.sleep(0.02)
            call.cancel()
        connection = http.client.HTTPConnection(server.rest_address)
        connection.request("POST", "/v1/models/slow:predict", '{"instances": [1]}')
        connection.close()
    assert server.y_of([2.0]) == [3.0]
    status = server.rest("/v1/models/half_plus_two:predict", {"instances": [2]})[0]
    assert status == 200


def test_a_full_queue_refuses_at_once(in_process, models, tmp_path):
    parameters = tmp_path / "batching.config"
    parameters.write_text(
        "max_batch_size { value: 1 } max_enqueued_batches { value: 1 } "
        "num_batch_threads { value: 1 } batch_timeout_micros { value: 0 }"
    )
    server = in_process(
        model_config_file=models / CONFIG_FILE,
        enable_batching=True,
        batching_parameters_file=parameters,
    )
    calls = []
    for _ in range(2):
        request = predict_request("slow", x=[1.0])
        calls.append(server.prediction.Predict.future(request, timeout=2.0))
        time.sleep(0.3)
    start = time.monotonic()
    request = predict_request("slow", x=[0.0])
    code, text = refusal(server.prediction.Predict, request)
    assert time.monotonic() - start < 0.5
    assert code == "UNAVAILABLE"
    assert "is full; currently 1 batches enqueued and max_enqueued_batches is 1" in text
    status, _ = server.rest("/v1/models/slow:predict", {"instances": [0.0]})
    assert status == 503
    assert {call.code().name for call in calls} == {"DEADLINE_EXCEEDED"}
    assert server.y_of([0.0], "slow") == [0.0]


def test_a_configuration_file_that_changes(in_process, models, tmp_path):
    file = tmp_path / "models.config"
    file.write_text(config_text(models, "half_plus_two"))
    server = in_process(model_config_file=file, model_config_file_poll_wait_seconds=0.1)
    assert server.y_of([2.0]) == [3.0]
    file.write_text("model_config_list {")
    time.sleep(0.3)
    assert server.y_of([2.0]) == [3.0]
    file.write_text(config_text(models, "half_plus_three"))
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            assert server.y_of([2.0], "half_plus_three") == [4.0]
            break
        except grpc.RpcError:
            time.sleep(0.1)
    assert server.y_of([2.0], "half_plus_three") == [4.0]
    code, _ = refusal(
        server.prediction.Predict, predict_request("half_plus_two", x=[2.0])
    )
    assert code == "NOT_FOUND"


def test_a_swap_does_not_wait_for_a_slow_request(in_process, tmp_path):
    saved = save(Slow(), tmp_path / "saved")
    shutil.copytree(saved, tmp_path / "m" / "1")
    server = in_process(
        model_base_path=tmp_path / "m",
        model_name="slow",
        file_system_poll_wait_seconds=0.1,
    )
    call = server.prediction.Predict.future(predict_request("slow", x=[1.0]), timeout=3)
    time.sleep(0.3)
    shutil.copytree(saved, tmp_path / "m" / ".2")
    (tmp_path / "m" / ".2").rename(tmp_path / "m" / "2")
    end = time.monotonic() + 20
    while 2 not in server.states("slow") and time.monotonic() < end:
        time.sleep(0.05)
    while server.states("slow")[2] != "AVAILABLE" and time.monotonic() < end:
        time.sleep(0.05)
    assert server.y_of([0.0], "slow", version=2) == [0.0]
    assert call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    while server.states("slow")[1] != "END" and time.monotonic() < end:
        time.sleep(0.05)
    assert server.states("slow") == {2: "AVAILABLE", 1: "END"}
