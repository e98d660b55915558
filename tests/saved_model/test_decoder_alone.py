"""A model whose VQGAN is a decoder alone, as min-dalle publishes it, to the client."""

import json

import grpc
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from keras_dalle.cli import app
from keras_dalle.prediction_service.client import (
    PredictionClient,
    PredictionClientError,
)
from keras_dalle.prediction_service.server import PredictionServer
from keras_dalle.saved_model.card_file import CARD_JSON_FILE
from keras_dalle.saved_model.exporter import export_saved_model
from keras_dalle.saved_model.verify import verify_saved_model
from tests.saved_model.signature_rows import GOOD_FILE, pixels
from tests.tiny_preset import tiny_task

PROMPTS = ["red heart", "sun"]
SIGNATURES = ["decode_chunk", "decode_tokens", "generate", "score"]
SIGNATURES += ["serving_default", "tokenize"]


@pytest.fixture(scope="module")
def decoder_alone():
    return tiny_task(quantizer=None)


@pytest.fixture(scope="module")
def checks():
    """What `--check` compared."""
    return []


@pytest.fixture(scope="module")
def target(decoder_alone, checks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    path = export_saved_model(
        decoder_alone,
        folder,
        check=lambda *args: checks.extend(verify_saved_model(*args).signatures),
    )
    card = json.loads((path / CARD_JSON_FILE).read_text(encoding="utf-8"))
    assert sorted(card["signatures"]) == SIGNATURES
    server = PredictionServer(folder, port=0, rest_api_port=None)
    server.start()
    yield f"127.0.0.1:{server.port}"
    server.stop(grace=0)


@pytest.fixture(scope="module")
def client(target):
    with PredictionClient(target, timeout=600) as client:
        yield client


def test_it_has_all_signatures_but_those_that_read_pictures(client, checks):
    names = [name for name in client.metadata() if not name.startswith("__")]
    assert sorted(names) == SIGNATURES
    assert sorted(check.name for check in checks) == SIGNATURES
    assert "image_bytes" not in client.metadata()["score"].inputs


def test_it_draws_and_scores_what_the_model_in_memory_does(decoder_alone, client):
    expected = decoder_alone.generate(PROMPTS, seed=3, return_tokens=True)
    drawn = client.generate_arrays(PROMPTS, seed=3)
    np.testing.assert_array_equal(drawn.image_tokens_BT, expected["image_tokens"])
    np.testing.assert_array_equal(drawn.images_BHWC, expected["images"])
    *_, last = client.stream(PROMPTS, seed=3)
    np.testing.assert_array_equal(pixels(last), expected["images"])
    assert client.decode_tokens(drawn.image_tokens_BT) == last
    inputs = {"prompts": PROMPTS, "image_tokens": drawn.image_tokens_BT}
    scores = client.score(PROMPTS, image_tokens=drawn.image_tokens_BT)
    np.testing.assert_allclose(scores, decoder_alone.score(inputs), rtol=1e-5)


def test_what_reads_pictures_is_refused(client):
    for call in (
        lambda: client.encode_image([GOOD_FILE]),
        lambda: client.complete_image(["sun"], GOOD_FILE, kept_rows=2),
    ):
        with pytest.raises(PredictionClientError, match="Serving signature") as error:
            call()
        assert error.value.code == grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(ValueError, match="`images` need a model whose VQGAN has an"):
        client.score(["sun"], images=[GOOD_FILE])


def test_the_command_line_says_why(target, tmp_path):
    photo = tmp_path / "photo.png"
    Image.new("RGB", (8, 8)).save(photo)
    words = ["client", target, "sun", "-o", str(tmp_path / "x.png")]
    options = ["--image", str(photo), "--keep-rows", "50%"]
    result = CliRunner().invoke(app, words + options, env={"COLUMNS": "500"})
    assert result.exit_code == 1
    assert "`--image` needs the signature `complete_image`" in result.stderr
    assert "Its VQGAN has no encoder: export a preset whose VQGAN" in result.stderr
    assert CliRunner().invoke(app, [*words, "--best-of", "2"]).exit_code == 0
