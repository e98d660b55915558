"""What goes wrong around a server: kills, clients that leave, queues that fill."""

import contextlib
import http.client
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import grpc
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2

from keras_dalle.prediction_service import metrics
from keras_dalle.prediction_service.server import PredictionServer
from tests.serving_contract.models import (
    CONFIG_FILE,
    VERSION_FOLDER,
    Slow,
    config_text,
    save,
    write_models,
)
from tests.serving_contract.running_server import (
    PATIENCE_S,
    RunningServer,
    embedded_server,
    predict_request,
    refusal,
    wait_for,
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("faults") / "models").parent


class InProcess(RunningServer):
    """A server in this process."""

    def __init__(self, models, **flags):
        self.embedded = PredictionServer(**{"port": 0, "rest_api_port": 0, **flags})
        self.embedded.start()
        super().__init__(
            f"127.0.0.1:{self.embedded.port}",
            f"127.0.0.1:{self.embedded.rest_api_port}",
            models,
        )

    def close(self):
        self.channel.close()
        self.embedded.stop(grace=0)


@pytest.fixture
def in_process(models):
    """Makes such servers."""
    with contextlib.ExitStack() as stack:

        def make(**flags):
            server = InProcess(models, **flags)
            stack.callback(server.close)
            return server

        yield make


def cpu_seconds(process):
    """What a process has used up. Linux alone tells it this way."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_kill_restart_and_an_orderly_end(models):
    """Three stories of one server, since starting one takes seconds."""
    flags = [
        f"--model_config_file={models / CONFIG_FILE}",
        "--rest_api_timeout_in_ms=3000",
    ]
    with embedded_server(*flags) as server:
        port = server.grpc_address.rpartition(":")[2]
        assert server.y_of([2.0]) == [3.0]
        channel = grpc.insecure_channel(server.grpc_address)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(PATIENCE_S)
    with embedded_server(*flags, f"--port={port}") as server, channel:
        # The client of before goes on, without being made anew.
        stub = type(server.prediction)(channel)
        request = predict_request("half_plus_two", x=[2.0])
        response = stub.Predict(request, timeout=30, wait_for_ready=True)
        assert list(response.outputs["y"].float_val) == [3.0]

        rest = []
        asking = threading.Thread(
            target=lambda: rest.append(
                server.rest("/v1/models/slow:predict", {"instances": [1.0]})
            )
        )
        idle = cpu_seconds(server.process)
        asking.start()
        wait_for(lambda: cpu_seconds(server.process) > idle + 0.2)
        slow = server.prediction.Predict.future(
            predict_request("slow", x=[1.0]), timeout=3.0
        )
        # On the same connection, so the other one has come as well.
        assert server.y_of([2.0]) == [3.0]
        server.process.send_signal(signal.SIGTERM)

        def is_refused():
            try:
                return server.y_of([2.0]) != [3.0]
            except grpc.RpcError as error:
                return error.code() == grpc.StatusCode.UNAVAILABLE

        wait_for(is_refused)
        # They end by their own deadlines, and are not cut off before.
        assert slow.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        asking.join()
        assert [status for status, _ in rest] == [504]
        assert server.process.wait(PATIENCE_S) == 0


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
    runs = metrics.BATCH_RUN_COUNT.value()
    slow = predict_request("slow", x=[1.0])
    calls = [server.prediction.Predict.future(slow, timeout=6.0)]
    wait_for(lambda: metrics.BATCH_RUN_COUNT.value() == runs + 1)
    calls.append(server.prediction.Predict.future(slow, timeout=6.0))
    wait_for(lambda: server.embedded._scheduler._queues[0].ready(time.monotonic()))
    request = predict_request("slow", x=[0.0])
    code, text = refusal(server.prediction.Predict, request)
    assert not any(call.done() for call in calls)
    assert code == "UNAVAILABLE"
    assert "is full; currently 1 batches enqueued and max_enqueued_batches is 1" in text
    status, _ = server.rest("/v1/models/slow:predict", {"instances": [0.0]})
    assert status == 503
    running, waiting = (call.code().name for call in calls)
    assert running == "DEADLINE_EXCEEDED"
    # By the client's clock, or by the server's, which finds it late in the queue.
    assert waiting in ("DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED")

    def is_served():
        try:
            return server.y_of([0.0], "slow") == [0.0]
        except grpc.RpcError:
            return False

    wait_for(is_served)


def test_a_configuration_file_that_changes(in_process, models, tmp_path, caplog):
    file = tmp_path / "models.config"
    file.write_text(config_text(models, "half_plus_two"))
    server = in_process(model_config_file=file, model_config_file_poll_wait_seconds=0.1)
    assert server.y_of([2.0]) == [3.0]
    file.write_text("model_config_list {")
    wait_for(lambda: "Invalid protobuf file" in caplog.text)
    assert server.y_of([2.0]) == [3.0]
    file.write_text(config_text(models, "half_plus_three"))
    wait_for(lambda: server.embedded.versions().get("half_plus_three"))
    assert server.y_of([2.0], "half_plus_three") == [4.0]
    code, _ = refusal(
        server.prediction.Predict, predict_request("half_plus_two", x=[2.0])
    )
    assert code == "NOT_FOUND"
    # What a call changes lasts until the file is read again.
    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(config_text(models, "echo"), request.config)
    server.model.HandleReloadConfigRequest(request)
    wait_for(lambda: server.embedded.versions().get("half_plus_three"))


def test_a_version_that_does_not_load_is_tried_again(in_process, tmp_path):
    saved = save(Slow(), tmp_path / "saved")
    shutil.copytree(saved, tmp_path / "m" / "1")
    server = in_process(
        model_base_path=tmp_path / "m",
        model_name="slow",
        file_system_poll_wait_seconds=0.1,
        max_num_load_retries=10_000,
        load_retry_interval_micros=100_000,
    )
    shutil.copytree(saved, tmp_path / "m" / ".2")
    graph = (tmp_path / "m" / ".2" / "saved_model.pb").rename(tmp_path / "graph")
    (tmp_path / "m" / ".2").rename(tmp_path / "m" / "2")
    wait_for(lambda: server.states("slow").get(2) == "LOADING")
    assert server.y_of([0.0], "slow", version=1) == [0.0]
    shutil.copy(graph, tmp_path / "m" / "2" / "part")
    (tmp_path / "m" / "2" / "part").rename(tmp_path / "m" / "2" / "saved_model.pb")
    wait_for(lambda: server.states("slow") == {2: "AVAILABLE", 1: "END"})


def test_without_polls_it_is_tried_again_too(in_process, models, tmp_path):
    server = in_process(
        model_base_path=models / "half_plus_two",
        model_name="half_plus_two",
        file_system_poll_wait_seconds=0,
        load_retry_interval_micros=100_000,
        max_num_load_retries=10_000,
    )
    shutil.copytree(models / "half_plus_three" / VERSION_FOLDER, tmp_path / "later/1")
    graph = (tmp_path / "later/1/saved_model.pb").rename(tmp_path / "graph")
    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(config_text(tmp_path, "later"), request.config)
    code, _ = refusal(server.model.HandleReloadConfigRequest, request)
    assert code == "UNKNOWN"
    graph.rename(tmp_path / "later/1/saved_model.pb")
    wait_for(lambda: server.states("later") == {1: "AVAILABLE"})
    assert server.y_of([2.0], "later") == [4.0]


def test_a_swap_does_not_wait_for_a_slow_request(in_process, tmp_path):
    saved = save(Slow(), tmp_path / "saved")
    shutil.copytree(saved, tmp_path / "m" / "1")
    server = in_process(
        model_base_path=tmp_path / "m",
        model_name="slow",
        file_system_poll_wait_seconds=0.1,
    )
    call = server.prediction.Predict.future(predict_request("slow", x=[1.0]), timeout=3)
    wait_for(lambda: server.embedded._calls.number == 1)
    shutil.copytree(saved, tmp_path / "m" / ".2")
    (tmp_path / "m" / ".2").rename(tmp_path / "m" / "2")
    wait_for(lambda: server.states("slow").get(2) == "AVAILABLE")
    assert server.y_of([0.0], "slow", version=2) == [0.0]
    assert call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    wait_for(lambda: server.states("slow") == {2: "AVAILABLE", 1: "END"})
