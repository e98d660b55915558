"""What status a refusal has over REST, whatever refuses."""

import json

import grpc
import pytest

from keras_dalle.prediction_service.core import ServerCore
from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.manager import ServableManager
from keras_dalle.prediction_service.rest_api import RestApi


class Refusing(ServerCore):
    """A core without models, whose session has an error of some code."""

    def __init__(self, code):
        super().__init__(ServableManager(lambda *_: None, 0, 0.0))
        self._code = code

    def use(self, model_spec):
        raise ServingError(self._code, "no")


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
def test_codes_as_statuses(code, status):
    api = RestApi(Refusing(grpc.StatusCode[code]), timeout_ms=1000)
    answer = api("POST", "/v1/models/m:predict", b'{"instances": [1]}')
    assert answer.status == status
    assert json.loads(answer.body) == {"error": "no"}
