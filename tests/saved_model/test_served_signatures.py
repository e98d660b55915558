"""Every signature through the embedded server: gRPC, REST, and rows of many callers."""

import base64
import json
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.prediction_service.client import PredictionClient, RowError
from keras_dalle.prediction_service.server import PredictionServer
from tests.saved_model.signature_rows import (
    DAMAGED,
    GOOD_FILE,
    GOOD_ROWS,
    LENGTH,
    file_of,
    noise,
    pixels,
)

PROMPTS = ["red heart", "sun", ""]
CALLERS = 8
FAULTY = {
    "serving_default": {"top_p": 7.0},
    "generate": {"temperature": float("nan")},
    "tokenize": {"prompt": b"x" * 20_000},
    "encode_image": {"image_bytes": DAMAGED},
    "decode_tokens": {"image_tokens_bytes": b"x"},
    "decode_chunk": {"max_new_tokens": -1},
    "score": {"image_tokens_bytes": b"\xff" * 4 * LENGTH},
    "complete_image": {"image_bytes": b"none"},
}


@pytest.fixture(scope="module")
def server(exported, tmp_path_factory):
    """With batches that wait long enough for all callers of a test."""
    parameters = tmp_path_factory.mktemp("config") / "batching.config"
    parameters.write_text(
        f"max_batch_size {{ value: {CALLERS} }} num_batch_threads {{ value: 1 }} "
        "batch_timeout_micros { value: 200000 } max_enqueued_batches { value: 9 }"
    )
    server = PredictionServer(
        exported.parent,
        port=0,
        rest_api_port=0,
        enable_batching=True,
        batching_parameters_file=parameters,
        grpc_max_threads=2 * CALLERS,
    )
    server.start()
    yield server
    server.stop(grace=0)


@pytest.fixture(scope="module")
def client(server):
    with PredictionClient(f"127.0.0.1:{server.port}", timeout=600) as client:
        yield client


def defaults_of(client, signature):
    """Of every input that has one; without them a batch would hold other requests."""
    protos = client.metadata()[signature].defaults
    return {name: tf.make_ndarray(proto)[0] for name, proto in protos.items()}


def answer_of(client, signature, row):
    """Outputs of one row as lists, and its error."""
    try:
        outputs = client.predict(signature, 1, row)
    except RowError as error:
        outputs = error.outputs
    return {name: values.tolist() for name, values in outputs.items()}


@pytest.mark.parametrize("signature", GOOD_ROWS)
def test_faulty_rows_of_other_callers_change_nothing(client, signature):
    row = {**defaults_of(client, signature), **GOOD_ROWS[signature]}
    rows = [row | FAULTY[signature] if i % 3 == 1 else row for i in range(CALLERS)]
    alone = answer_of(client, signature, row)
    start = threading.Barrier(CALLERS)

    def call(row):
        start.wait()
        return answer_of(client, signature, row)

    with ThreadPoolExecutor(CALLERS) as pool:
        answers = list(pool.map(call, rows))
    assert alone["error"] == [b""]
    for i, answer in enumerate(answers):
        if i % 3 == 1:
            assert answer["error"] != [b""]
        else:
            assert answer == alone


@pytest.mark.parametrize("signature", GOOD_ROWS)
def test_one_row_may_leave_out_what_has_a_default(client, signature):
    defaults = defaults_of(client, signature)
    row = {**defaults, **GOOD_ROWS[signature]}
    short = {
        name: value
        for name, value in row.items()
        if name not in defaults or value != defaults[name]
    }
    assert answer_of(client, signature, short) == answer_of(client, signature, row)


# === REST ===


def to_json(value):
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return value.item() if isinstance(value, np.generic) else value


def from_json(name, value):
    if name.endswith("_bytes"):
        return base64.b64decode(value["b64"])
    return value.encode() if name == "error" else value


@pytest.mark.parametrize("signature", GOOD_ROWS)
def test_rest_answers_as_grpc(server, client, signature):
    row = {**defaults_of(client, signature), **GOOD_ROWS[signature]}
    rows = [row, row | FAULTY[signature]]
    if signature == "generate":
        rows[1] = row | {"temperature": -1.0}  # JSON has no NaN
    body = {
        "signature_name": signature,
        "instances": [{k: to_json(x) for k, x in row.items()} for row in rows],
    }
    url = f"http://127.0.0.1:{server.rest_api_port}/v1/models/dalle:predict"
    with urllib.request.urlopen(url, json.dumps(body).encode()) as response:
        predictions = json.load(response)["predictions"]
    for row, prediction in zip(rows, predictions, strict=True):
        expected = answer_of(client, signature, row)
        for name, (value,) in expected.items():
            received = from_json(name, prediction[name])
            if isinstance(value, bytes):
                assert received == value
            else:
                np.testing.assert_allclose(received, value, rtol=1e-6)
    assert predictions[0]["error"] == ""
    assert predictions[1]["error"]


# === The client ===


def test_arrays_are_the_pictures_of_generate(client):
    drawing = client.generate_arrays(PROMPTS, seed=[1, 2, 3], guidance_scale=3.0)
    files = client.generate(PROMPTS, seed=[1, 2, 3], guidance_scale=3.0)
    np.testing.assert_array_equal(drawing.images_BHWC, pixels(files))
    assert client.decode_tokens(drawing.image_tokens_BT) == files


def test_stream_ends_in_the_pictures_of_generate(client):
    pictures = list(client.stream(PROMPTS, every=6, seed=4, top_k=9))
    assert len(pictures) == 3
    assert pictures[-1] == client.generate(PROMPTS, seed=4, top_k=9)
    assert len(list(client.stream(["sun"]))) == 4
    assert list(client.stream([])) == []


def test_text_tokens(task, client):
    token_ids_BS, padding_mask_BS = client.tokenize(PROMPTS)
    expected = task.preprocessor.generate_preprocess(PROMPTS)
    np.testing.assert_array_equal(token_ids_BS, expected["encoder_token_ids"])
    np.testing.assert_array_equal(padding_mask_BS, expected["encoder_padding_mask"])


def test_scores_of_files_and_of_their_tokens(task, client):
    image_tokens_BT = client.encode_image([GOOD_FILE, file_of("PNG", noise(9, 30))])
    by_tokens = client.score(PROMPTS[:2], image_tokens=image_tokens_BT)
    by_files = client.score(
        PROMPTS[:2], images=[GOOD_FILE, file_of("PNG", noise(9, 30))]
    )
    expected = task.score({"prompts": PROMPTS[:2], "image_tokens": image_tokens_BT})
    np.testing.assert_allclose(by_tokens, expected, rtol=1e-5)
    np.testing.assert_array_equal(by_files, by_tokens)
    with pytest.raises(ValueError, match="Give one of `images` and `image_tokens`"):
        client.score(PROMPTS)


def test_completed_pictures(task, client):
    mask = np.zeros([9, 9], np.uint8)
    mask[5:] = 255
    by_mask = client.complete_image(
        ["sun"], GOOD_FILE, masks=file_of("PNG", mask), seed=2
    )
    by_rows = client.complete_image(["sun"], GOOD_FILE, kept_rows=2, seed=2)
    expected = task.generate("sun", image=noise(9, 9), mask=mask, seed=2)
    assert by_mask == by_rows
    np.testing.assert_array_equal(pixels(by_mask)[0], expected)


def test_row_errors_have_the_outputs_of_the_good_rows(client):
    with pytest.raises(RowError, match="1 of 2 rows failed: row 1: ") as error:
        client.encode_image([GOOD_FILE, DAMAGED])
    tokens_BT = error.value.outputs["image_tokens"]
    np.testing.assert_array_equal(tokens_BT[0], client.encode_image([GOOD_FILE])[0])
    assert error.value.images == []


@pytest.mark.parametrize(
    "tokens, rule",
    [
        ([[0.5]], "must be"),
        ([1, 2], "must be"),
        ([[2**40]], "must fit int32. Received: 1099511627776"),
        (np.zeros([1, 2, 3]), "must be"),
    ],
)
def test_rows_that_are_no_tokens_are_named(client, tokens, rule):
    with pytest.raises(ValueError, match=f"`image_tokens` {rule}"):
        client.decode_tokens(tokens)
