import pytest

from keras_dalle.prediction_service.server import PredictionServer
from tests.toy_task import export_toy


@pytest.fixture(scope="session")
def base_path(tmp_path_factory):
    """A base path with versions 1 and 12 of the toy."""
    base_path = tmp_path_factory.mktemp("toy")
    export_toy(base_path, version=1)
    export_toy(base_path, version=12)
    return base_path


@pytest.fixture(scope="session")
def server(base_path):
    server = PredictionServer(base_path, model_name="m", port=0, rest_api_port=None)
    server.start()
    yield server
    server.stop(grace=0)


@pytest.fixture(scope="session")
def target(server):
    return f"127.0.0.1:{server.port}"
