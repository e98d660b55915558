"""A REST server over a model that waits until a test lets it go on."""

import contextlib
import http.client
import json
import socket
import threading
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from keras_dalle.prediction_service.core import ServerCore
from keras_dalle.prediction_service.http_limits import HttpLimits
from keras_dalle.prediction_service.manager import ServableManager
from keras_dalle.prediction_service.rest_api import RestApi
from keras_dalle.prediction_service.rest_server import RestServer
from keras_dalle.prediction_service.servables import Servable

PREDICT = "/v1/models/m:predict"
METRICS = "/monitoring/prometheus/metrics"
PATIENCE_S = 20


class WaitingSession:
    """y = x + 1, of strings their length; waits where an x is above 0."""

    def __init__(self):
        self.go_on = threading.Event()
        self.running = self.most = 0
        self._lock = threading.Lock()
        self.signatures = {"serving_default": signature("x", tf.float32, "y")}
        self.signatures["texts"] = signature("text", tf.string, "y")

    def run(self, feeds, fetches, timeout_ms=0):
        ((_, values),) = feeds.items()
        if values.dtype == object:
            return [np.array([len(text) for text in values], np.float32)]
        if np.any(values > 0):
            with self._lock:
                self.running += 1
                self.most = max(self.most, self.running)
            self.go_on.wait(PATIENCE_S)
            with self._lock:
                self.running -= 1
        return [values + 1]

    def close(self):
        self.go_on.set()


def signature(alias, dtype, output):
    definition = SignatureDef(method_name="tensorflow/serving/predict")
    definition.inputs[alias].name = f"{alias}:0"
    definition.inputs[alias].dtype = dtype.as_datatype_enum
    definition.outputs[output].name = f"{output}:0"
    return definition


class Server:
    """A running server, and calls of it."""

    def __init__(self, rest, session):
        self.rest, self.session, self.port = rest, session, rest.port

    def connect(self, timeout=PATIENCE_S):
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def ask(self, method="POST", path=PREDICT, body=None, headers={}, **how):  # noqa: B006
        """Status, headers and content of an answer; by a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, PATIENCE_S)
        with contextlib.closing(connection):
            return asked(connection, method, path, body, headers, **how)

    def y_of(self, x, **how):
        status, _, content = self.ask(body=json.dumps({"instances": x}), **how)
        return status, json.loads(content)

    def raw(self, content, half_close=False):
        """All that the server sends for these bytes, until it closes."""
        with self.connect() as client, contextlib.suppress(ConnectionError):
            client.sendall(content)
            if half_close:
                client.shutdown(socket.SHUT_WR)
            return received(client)

    @contextlib.contextmanager
    def waiting_calls(self, number):
        """Calls that run until the block ends, when all have succeeded."""
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(self.y_of([1.0])))
            for _ in range(number)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.session.go_on.set()
            for thread in threads:
                thread.join(PATIENCE_S)
            self.session.go_on.clear()
        assert answers == [(200, {"predictions": [2.0]})] * number


def asked(connection, method="POST", path=PREDICT, body=None, headers={}, **how):  # noqa: B006
    connection.request(method, path, body, headers, **how)
    response = connection.getresponse()
    return response.status, response.headers, response.read()


def received(client):
    """Returns the bytes that come until the other side closes."""
    content = b""
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(65536):
            content += piece
    return content


def head(size, *lines, path=PREDICT):
    """The head of a POST."""
    first = (f"POST {path} HTTP/1.1", "Host: h", f"Content-Length: {size}")
    return "".join(f"{line}\r\n" for line in (*first, *lines, "")).encode()


def rest_server(core, num_threads=2, metrics_path=METRICS, **limits):
    return RestServer(
        RestApi(core, timeout_ms=0),
        "127.0.0.1",
        0,
        num_threads,
        HttpLimits(**limits),
        metrics_path=metrics_path,
    )


@contextlib.contextmanager
def served(num_threads=2, **limits):
    session = WaitingSession()
    manager = ServableManager(lambda n, v, _: Servable(n, v, session), 0, 0.0)
    manager.reconcile({"m": {1: Path()}})
    rest = rest_server(ServerCore(manager), num_threads, **limits)
    rest.start()
    try:
        yield Server(rest, session)
    finally:
        session.go_on.set()
        rest.stop(grace=5)
        manager.close()


def seconds(start):
    return time.monotonic() - start
