"""A server in a process of its own, by its command line, and calls of it.

Speaks gRPC and REST alone, and so to a stock server as well.
"""

import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus

TIMEOUT_S = 60
# Until a test gives up on something that takes a second where nothing else runs.
PATIENCE_S = 60
MAX_MESSAGE = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]


class RunningServer:
    """Args:
    grpc_address, rest_address: "host:port".
    folder: Where the models are, as this machine sees it.
    process: The server's, if it is ours.
    """

    def __init__(
        self,
        grpc_address: str,
        rest_address: str,
        folder: Path | None,
        process: subprocess.Popen | None = None,
    ):
        self.grpc_address = grpc_address
        self.rest_address = rest_address
        self.folder = folder
        self.process = process
        self.channel = grpc.insecure_channel(grpc_address, options=MAX_MESSAGE)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(
            self.channel
        )
        self.model = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def y_of(self, x: list[float], name: str = "half_plus_two", **spec: Any) -> list:
        """The output of a half-plus model, after all checks of the answer's form."""
        request = predict_request(name, x=x, **spec)
        response = self.prediction.Predict(request, timeout=TIMEOUT_S)
        assert response.outputs["y"].dtype == tf.float32.as_datatype_enum
        return list(response.outputs["y"].float_val)

    def states(self, name: str) -> dict[int, str]:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        response = self.model.GetModelStatus(request, timeout=TIMEOUT_S)
        return {
            status.version: ModelVersionStatus.State.Name(status.state)
            for status in response.model_version_status
        }

    def rest(self, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and content of an answer. A body that is not bytes goes as JSON."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.rest_address}{path}", body)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def text(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self.rest_address}{path}") as response:
            return response.read().decode()


def predict_request(name, *, version=None, label=None, signature="", **inputs):
    """A request of arrays, or of whatever a proto can be made of.

    A list for `number` is int64, which is what the model takes.
    """
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    for alias, value in inputs.items():
        if alias == "number" and isinstance(value, list):
            value = np.array(value, np.int64)
        request.inputs[alias].CopyFrom(tf.make_tensor_proto(value))
    return request


def refusal(method, request, timeout=TIMEOUT_S):
    """Code and text of a call that must fail."""
    try:
        answer = method(request, timeout=timeout)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    raise AssertionError(f"Not refused: {answer}")


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """Returns once the condition holds. For what takes a loaded machine a while."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "It did not happen in time."
        time.sleep(0.02)


@contextlib.contextmanager
def starting_server(*flags: str) -> Iterator[tuple[subprocess.Popen, Path]]:
    """The process of `keras-dalle serve` with these flags, and its log's file."""
    command = [sys.executable, "-m", "keras_dalle.cli", "serve", *flags]
    with (
        tempfile.NamedTemporaryFile("w") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            yield process, Path(log.name)
        finally:
            process.kill()


@contextlib.contextmanager
def embedded_server(*flags: str, folder: Path | None = None) -> Iterator[RunningServer]:
    """`keras-dalle serve` with these flags, on any free ports unless they say."""
    with starting_server("--port=0", "--rest_api_port=0", *flags) as (process, log):
        line = process.stdout.readline()
        match = re.search(r"REST on (\S+), gRPC on (\S+)", line)
        if match is None:
            raise AssertionError(f"It did not start: {line}{log.read_text()}")
        server = RunningServer(match[2], match[1], folder, process)
        try:
            yield server
        finally:
            server.channel.close()
            process.terminate()
            process.wait(PATIENCE_S)
