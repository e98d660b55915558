"""A server that ends: what runs goes on, and what comes is refused."""

import contextlib
import socket
import threading
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from keras_dalle.prediction_service.server import PredictionServer
from tests.serving_contract.models import HalfPlus, Slow, save
from tests.serving_contract.running_server import (
    PATIENCE_S,
    RunningServer,
    predict_request,
    refusal,
    wait_for,
)

# A batch of one waits this long for others, and so does its caller.
BATCHING = """
max_batch_size { value: 16 }
batch_timeout_micros { value: 1000000 }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shutdown")
    for name, module in {"slow": Slow(), "half": HalfPlus(2.0)}.items():
        (folder / name).mkdir()
        save(module, folder / name / "1")
    (folder / "batching.config").write_text(BATCHING)
    return folder


@contextlib.contextmanager
def served(folder, **flags):
    server = PredictionServer(
        folder, model_name="m", **{"port": 0, "rest_api_port": None, **flags}
    )
    server.start()
    running = RunningServer(
        f"127.0.0.1:{server.port}", f"127.0.0.1:{server.rest_api_port}", folder
    )
    try:
        yield server, running
    finally:
        running.channel.close()
        server.stop(grace=0)


@contextlib.contextmanager
def stopping(server, **options):
    thread = threading.Thread(target=server.stop, kwargs=options)
    thread.start()
    yield thread
    thread.join(60)
    assert not thread.is_alive()


def refuses(running):
    """Whether a new call is refused; until then it is answered by the model."""
    try:
        running.y_of([0.0], "m")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        return True
    return False


def runs(server, number=1):
    return lambda: server._calls.number == number


def test_a_call_that_ends_in_its_time_succeeds(folder):
    flags = {
        "enable_batching": True,
        "batching_parameters_file": folder / "batching.config",
    }
    with served(folder / "half", **flags) as (server, running):
        call = running.prediction.Predict.future(
            predict_request("m", x=[2.0]), timeout=60
        )
        wait_for(runs(server))
        with stopping(server):
            assert list(call.result().outputs["y"].float_val) == [3.0]


def test_a_call_that_does_not_ends_by_its_own_deadline(folder):
    with served(folder / "slow") as (server, running):
        start = time.monotonic()
        call = running.prediction.Predict.future(
            predict_request("m", x=[1.0]), timeout=1.0
        )
        wait_for(runs(server))
        with stopping(server):
            assert call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            assert time.monotonic() - start >= 0.95


def frame(kind, flags, payload=b"", stream=1):
    """A frame of HTTP/2 (RFC 9113)."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags])
    return head + stream.to_bytes(4, "big") + payload


def header(name, value):
    """A header as HPACK's plainest literal (RFC 7541)."""
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


def call_frames(request, timeout):
    """A client's side of a Predict call that does not watch its own deadline."""
    head = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": b"/tensorflow.serving.PredictionService/Predict",
        b":authority": b"localhost",
        b"content-type": b"application/grpc",
        b"te": b"trailers",
        b"grpc-timeout": timeout,
    }
    message = request.SerializeToString()
    body = b"\0" + len(message).to_bytes(4, "big") + message
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + frame(4, 0, stream=0)
        + frame(1, 4, b"".join(header(*pair) for pair in head.items()))
        + frame(0, 1, body)
    )


def test_the_status_is_sent_at_the_deadline(folder):
    """Once gRPC's own stop has begun it drops the connection there, without one.

    A client that watches the deadline too reads UNAVAILABLE only where it is slower.
    """
    request = predict_request("m", x=[1.0])
    with (
        served(folder / "slow") as (server, _),
        socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as client,
    ):
        client.sendall(call_frames(request, timeout=b"1S"))
        wait_for(runs(server))
        received = b""
        with stopping(server):
            while piece := client.recv(65536):
                received += piece
        assert header(b"grpc-status", b"4") in received


def test_new_calls_are_refused_and_health_says_so(folder):
    with served(folder / "slow", rest_api_port=0) as (server, running):
        health = health_pb2_grpc.HealthStub(running.channel)
        call = running.prediction.Predict.future(
            predict_request("m", x=[1.0]), timeout=3.0
        )
        wait_for(runs(server))
        with stopping(server):
            wait_for(lambda: refuses(running))
            assert refusal(
                running.prediction.Predict, predict_request("m", x=[0.0])
            ) == ("UNAVAILABLE", "The server is shutting down.")
            status = health.Check(health_pb2.HealthCheckRequest()).status
            assert status == health_pb2.HealthCheckResponse.NOT_SERVING
            assert call.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_after_its_grace_a_call_is_cut_off(folder):
    with served(folder / "slow") as (server, running):
        call = running.prediction.Predict.future(predict_request("m", x=[1.0]))
        wait_for(runs(server))
        with stopping(server, grace=0.5):
            assert call.code() in (
                grpc.StatusCode.CANCELLED,
                grpc.StatusCode.UNAVAILABLE,
            )


def test_neither_abandoned_calls_nor_watchers_are_waited_for(folder):
    with served(folder / "slow") as (server, running):
        health = health_pb2_grpc.HealthStub(running.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        call = running.prediction.Predict.future(predict_request("m", x=[1.0]))
        wait_for(runs(server))
        call.cancel()
        wait_for(runs(server, 0))
        start = time.monotonic()
        server.stop(grace=300)
        assert time.monotonic() - start < 60
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
