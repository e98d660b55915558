"""The time before a server answers: ports, versions that come later, signals."""

import contextlib
import shutil
import signal
import socket
import threading

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.ports import ReservedPort
from keras_dalle.prediction_service.server import PredictionServer
from keras_dalle.saved_model.warmup import WARMUP_FILE
from tests.serving_contract.models import HalfPlus, Slow, config_text, save
from tests.serving_contract.running_server import (
    PATIENCE_S,
    RunningServer,
    predict_request,
    starting_server,
    wait_for,
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save(HalfPlus(5.0), tmp_path_factory.mktemp("start") / "1")


@pytest.fixture
def ports():
    """Returns two free ports."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for taken in sockets:
            taken.bind(("127.0.0.1", 0))
        numbers = [taken.getsockname()[1] for taken in sockets]
    return numbers


def accepts(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def starting(server):
    """Starts a server in a thread of its own, and keeps the error that ends it."""
    errors = []

    def start():
        try:
            server.start()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    try:
        yield errors
    finally:
        server.stop(grace=0)
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_a_model_that_comes_later(saved, ports, tmp_path, caplog):
    """First there is no base path, then no version, then one that is served."""
    port, rest_port = ports
    folder = tmp_path / "later"
    flags = {"model_name": "m", "port": port, "rest_api_port": rest_port}
    server = PredictionServer(folder, file_system_poll_wait_seconds=0.1, **flags)
    with starting(server) as errors:
        wait_for(lambda: "Waiting for a version of m" in caplog.text)
        folder.mkdir()
        wait_for(lambda: "No versions of servable m found" in caplog.text)
        assert not accepts(port) and not accepts(rest_port)
        with pytest.raises(OSError, match=f"127.0.0.1:{port}.*--port 0"):
            PredictionServer(folder, port=port, rest_api_port=None)
        with pytest.raises(OSError, match=f"127.0.0.1:{rest_port}.*--rest_api_port 0"):
            PredictionServer(folder, port=0, rest_api_port=rest_port)
        shutil.copytree(saved, folder / ".1")
        (folder / ".1").rename(folder / "1")
        wait_for(lambda: accepts(rest_port))
        running = RunningServer(f"127.0.0.1:{port}", f"127.0.0.1:{rest_port}", None)
        assert running.y_of([2.0], "m") == [6.0]
        body = {"instances": [4.0]}
        assert running.rest("/v1/models/m:predict", body) == (
            200,
            {"predictions": [7.0]},
        )
        running.channel.close()
        assert errors == []
    # Each of them once, not at every look.
    assert caplog.text.count("Could not find base path") == 1
    assert caplog.text.count("No versions of servable m found") == 1


def test_waiting_can_be_ended(tmp_path, caplog):
    server = PredictionServer(tmp_path, port=0, rest_api_port=None)
    with starting(server) as errors:
        wait_for(lambda: "Waiting for a version" in caplog.text)
        server.stop()
        wait_for(lambda: errors)
    assert "was stopped before its models were there" in str(errors[0])


def test_a_version_that_does_not_load_ends_the_start(ports, tmp_path):
    (tmp_path / "3").mkdir()
    server = PredictionServer(
        tmp_path, model_name="m", port=ports[0], rest_api_port=None
    )
    text = (
        r"1 model\(s\) did not become available: {{{name: m version: 3} due to error: "
    )
    with pytest.raises(
        ServingError, match=f"{text}NOT_FOUND: Could not find SavedModel"
    ):
        server.start()
    ReservedPort("127.0.0.1", ports[0], "port").release()


@pytest.mark.parametrize("micros", [-1, 0])
def test_tries_without_a_wait_are_all_made_at_the_start(tmp_path, caplog, micros):
    (tmp_path / "3").mkdir()
    flags = {"max_num_load_retries": 2, "load_retry_interval_micros": micros}
    server = PredictionServer(tmp_path, port=0, rest_api_port=None, **flags)
    with pytest.raises(ServingError, match="did not become available"):
        server.start()
    assert caplog.text.count("Version 3 of dalle did not load") == 3


def test_an_empty_configuration_serves_nothing_yet(saved, tmp_path):
    file = tmp_path / "models.config"
    file.write_text("")
    flags = {"model_config_file": file, "model_config_file_poll_wait_seconds": 0.1}
    server = PredictionServer(port=0, rest_api_port=None, **flags)
    server.start()
    assert server.versions() == {}
    shutil.copytree(saved, tmp_path / "m" / "1")
    file.write_text(config_text(tmp_path, "m"))
    wait_for(lambda: server.versions() == {"m": [1]})
    server.stop(grace=0)


def test_a_connection_that_lingers_does_not_keep_a_port(ports):
    """Acts as a restart does: the end closed first stays in TIME_WAIT for a minute."""
    address = ("127.0.0.1", ports[0])
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
        with socket.create_connection(address) as client:
            listener.accept()[0].close()
            assert client.recv(1) == b""
    with pytest.raises(OSError, match="in use"), socket.socket() as plain:
        plain.bind(address)
    ReservedPort(*address, "port").release()


def test_a_host_that_is_not_here():
    with pytest.raises(OSError, match=r"Cannot listen on 192.0.2.7:1234: .*--port"):
        ReservedPort("192.0.2.7", 1234, "port")


def test_a_socket_in_a_folder_that_is_missing(saved, tmp_path):
    with pytest.raises(OSError, match="must be in a folder that exists"):
        PredictionServer(
            saved.parent,
            port=0,
            rest_api_port=None,
            grpc_socket_path=tmp_path / "none" / "grpc",
        )


def warmed_up_for_minutes(folder):
    """A version whose warm-up request does not come to an end."""
    path = save(Slow(), folder / "1")
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(predict_request("m", x=[1.0]))
    (path / WARMUP_FILE).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path / WARMUP_FILE)) as writer:
        writer.write(log.SerializeToString())


def test_a_container_that_is_stopped_while_it_loads(ports, tmp_path):
    """The image's command line, with flags of the user's behind it."""
    (tmp_path / "slow").mkdir()
    warmed_up_for_minutes(tmp_path / "slow")
    config = tmp_path / "models.config"
    config.write_text(config_text(tmp_path, "slow"))
    flags = (
        "--port=1",
        "--rest_api_port=2",
        "--model_name=model",
        f"--model_base_path={tmp_path}/nowhere/model",
        f"--model_config_file={config}",
        "--enable_profiler",
        "--flush_filesystem_caches=false",
        "--num_load_threads=4",
        "--enable_batching=false",
        "--rest_api_timeout_in_ms=0",
        "--batching_parameters_file=",
        f"--port={ports[0]}",
        f"--rest_api_port={ports[1]}",
    )
    with starting_server(*flags) as (process, log):
        wait_for(lambda: "Loading version 1 of slow" in log.read_text())
        assert not any(map(accepts, ports))
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
        assert process.stdout.read() == ""
        first, *_, last = log.read_text().splitlines()
    assert first == (
        "Without effect here: --enable_profiler=true (there is no profiler service), "
        "--flush_filesystem_caches=false (the file system's caches are left alone), "
        "--num_load_threads=4 (versions are loaded one at a time), --model_base_path "
        "(the models are those of --model_config_file)."
    )
    assert last == "Stopped before the models were loaded."
