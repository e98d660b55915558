"""The status of a refusal over REST, for every origin of refusals."""

import contextlib
import http.client
import json

import grpc
import pytest

from keras_dalle.prediction_service.core import ServerCore
from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.manager import ServableManager
from tests.prediction_service.waiting_model import PREDICT, asked, rest_server


class Refusing(ServerCore):
    """A core without models, whose session has an error of some code."""

    def __init__(self):
        super().__init__(ServableManager(lambda *_: None, 0, 0.0))
        self.error = Exception()

    def use(self, model_spec):
        raise self.error


@pytest.fixture(scope="module")
def core():
    return Refusing()


@pytest.fixture(scope="module")
def connection(core):
    server = rest_server(core)
    server.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, 20)
    with contextlib.closing(connection):
        yield connection
    server.stop(grace=1)


@pytest.mark.parametrize(
    "code, status",
    [
        ("INVALID_ARGUMENT", 400),
        ("FAILED_PRECONDITION", 400),
        ("OUT_OF_RANGE", 400),
        ("NOT_FOUND", 404),
        ("RESOURCE_EXHAUSTED", 429),
        ("UNAVAILABLE", 503),
        ("DEADLINE_EXCEEDED", 504),
        ("DATA_LOSS", 500),
    ],
)
def test_codes_as_statuses(core, connection, code, status):
    core.error = ServingError(grpc.StatusCode[code], "no")
    answered, headers, content = asked(connection, body=b'{"instances": [1]}')
    assert (answered, json.loads(content)) == (status, {"error": "no"})
    assert headers["Content-Type"] == "application/json"


def test_a_bug_tells_nothing_of_itself(core, connection, caplog):
    core.error = ZeroDivisionError("secret")
    status, _, content = asked(connection, body=b'{"instances": [1]}')
    assert (status, json.loads(content)) == (500, {"error": "Internal error"})
    assert f"POST {PREDICT} failed" in caplog.text
