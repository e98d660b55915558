"""The real task through export: the SavedModel draws what the model in memory draws."""

import json

import numpy as np
import pytest

from keras_dalle.commands.grids import decode_pngs
from keras_dalle.prediction_service.client import PredictionClient, RowError
from keras_dalle.prediction_service.server import PredictionServer
from keras_dalle.saved_model.exporter import MODEL_CONFIG
from keras_dalle.saved_model.graph import read_meta_graph, signatures_of

PROMPTS = ["red heart", "woman firefighter: dark skin tone", "", "x" * 10_000]
PARAMETERS = {"guidance_scale": 3.0, "temperature": 0.8, "top_k": 8, "top_p": 0.9}


@pytest.fixture(scope="module")
def client(exported):
    server = PredictionServer(exported.parent, port=0, rest_api_port=None)
    server.start()
    with PredictionClient(f"127.0.0.1:{server.port}") as client:
        yield client
    server.stop(grace=0)


def test_gives_what_memory_gives_where_only_tensorflow_is_imported(exported, reports):
    (report,) = reports
    names = signatures_of(read_meta_graph(exported))
    assert [check.name for check in report.signatures] == list(names)
    assert [check.num_faulty for check in report.signatures] == [0] * len(names)
    assert {use.library for use in report.operations} == {"core"}


def test_server_draws_what_the_model_in_memory_draws(task, client):
    served = decode_pngs(client.generate(PROMPTS, seed=5, **PARAMETERS))
    np.testing.assert_array_equal(served, task.generate(PROMPTS, seed=5, **PARAMETERS))


def test_rows_are_the_same_together_and_alone(client):
    together = client.generate(PROMPTS, seed=5)
    assert together == [client.generate([p], seed=5)[0] for p in PROMPTS]
    assert len(set(together)) == len(PROMPTS)


def test_faulty_row_leaves_its_neighbours_as_they_are(client):
    good = client.generate(["sun", "sun"], seed=[1, 2])
    with pytest.raises(RowError, match="row 1: `top_p`") as error:
        client.generate(["sun"] * 3, seed=[1, 7, 2], top_p=[1.0, 7.0, 1.0])
    assert [error.value.images[0], error.value.images[2]] == good


def test_invalid_utf8_has_a_picture(client):
    assert client.generate([b"red \xff\xfe heart"])[0].startswith(b"\x89PNG")


def test_config_rides_along(exported):
    config = json.loads((exported / MODEL_CONFIG).read_text())
    assert config["config"]["backbone"]["config"]["hidden_dim"] == 16
