"""Limits of HTTP, around an API that tells what it got."""

import http.client
import socket
import threading

import pytest

from keras_dalle.prediction_service import rest_server
from keras_dalle.prediction_service.rest_api import Answer
from keras_dalle.prediction_service.rest_server import RestServer
from tests.serving_contract.running_server import wait_for


class Api:
    def __init__(self):
        self.go_on = threading.Event()
        self.running = 0
        self.most = 0

    def __call__(self, method, path, body):
        if path == "/slow":
            self.running += 1
            self.most = max(self.most, self.running)
            self.go_on.wait(10)
            self.running -= 1
        return Answer(200, f"{method} {path} {len(body)}".encode(), "text/plain")


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def server(api):
    server = RestServer(api, "127.0.0.1", 0, num_threads=2)
    server.start()
    yield server
    api.go_on.set()
    server.stop(grace=5)


@pytest.fixture
def connection(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    yield connection
    connection.close()


def ask(connection, method="POST", path="/", body=None, headers={}):  # noqa: B006
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return response.status, response.read()


def test_bodies_and_methods(connection):
    assert ask(connection, "GET") == (200, b"GET / 0")
    assert ask(connection, body=b"x" * 100_000) == (200, b"POST / 100000")
    assert ask(connection, "OPTIONS") == (200, b"OPTIONS / 0")
    assert ask(connection, "HEAD") == (200, b"")
    assert ask(connection, "DELETE") == (200, b"DELETE / 0")


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"Transfer-Encoding": "chunked"}, 411),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Content-Length": "a"}, 400),
        ({"Content-Length": str(2**40)}, 413),
    ],
)
def test_bodies_that_are_not_taken(connection, headers, status):
    answer, content = ask(connection, body=b"", headers=headers)
    assert answer == status and content.startswith(b'{"error": ')


def test_a_body_too_large(connection, monkeypatch):
    monkeypatch.setattr(rest_server, "MAX_BODY_BYTES", 1000)
    assert ask(connection, body=b"x" * 1000)[0] == 200
    assert ask(connection, body=b"x" * 1001)[0] == 413


def slow_calls(server, number):
    outcomes = []

    def run():
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        outcomes.append(ask(connection, "GET", "/slow"))
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    return threads, outcomes


def test_only_so_many_calls_at_once(server, api):
    threads, outcomes = slow_calls(server, 5)
    wait_for(lambda: server._server._running == 5 and api.running == 2)
    api.go_on.set()
    for thread in threads:
        thread.join()
    assert outcomes == [(200, b"GET /slow 0")] * 5
    assert api.most == 2


def test_only_so_many_connections(server, connection, monkeypatch):
    monkeypatch.setattr(rest_server, "MAX_CONNECTIONS", 2)
    assert ask(connection)[0] == 200
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=10),
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as third,
    ):
        assert third.recv(1) == b""
    assert ask(connection)[0] == 200


def test_a_silent_client_is_left(server, monkeypatch):
    monkeypatch.setattr(rest_server._Handler, "timeout", 0.2)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as silent:
        silent.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nonly this")
        while silent.recv(1000):
            pass


def test_a_client_that_vanishes(server, connection, api):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as gone:
        gone.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
        wait_for(lambda: api.running == 1)
    api.go_on.set()
    assert ask(connection)[0] == 200


def test_stop_lets_calls_finish(server, api):
    threads, outcomes = slow_calls(server, 1)
    idle = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    assert ask(idle)[0] == 200
    wait_for(lambda: api.running == 1)
    stopping = threading.Thread(target=server.stop, args=(10,))
    stopping.start()
    wait_for(lambda: server._server.stopping)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)
    api.go_on.set()
    stopping.join(5)
    assert not stopping.is_alive()
    threads[0].join()
    assert outcomes == [(200, b"GET /slow 0")]
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(idle)


def test_a_busy_port(server, api):
    with pytest.raises(OSError, match=f"127.0.0.1:{server.port}.*--rest_api_port 0"):
        RestServer(api, "127.0.0.1", server.port, 1)
