import io

import grpc
import numpy as np
import pytest
from PIL import Image

from keras_dalle.prediction_service.client import (
    PredictionClient,
    PredictionClientError,
    RowError,
)


@pytest.fixture
def client(target):
    with PredictionClient(target, model_name="m", timeout=60) as client:
        yield client


def colour(png):
    return Image.open(io.BytesIO(png)).convert("RGB").getpixel((0, 0))


def test_rows_are_the_same_together_and_alone(client):
    prompts = ["red", "a blue heart", "", "x" * 10_000]
    together = client.generate(prompts, seed=3)
    assert together == [client.generate([prompt], seed=3)[0] for prompt in prompts]
    assert colour(together[0])[0] == 200


def test_invalid_utf8_travels_as_it_is(client):
    (png,) = client.generate([b"red \xff\xfe"])
    assert png.startswith(b"\x89PNG")


def test_parameters_may_differ_by_row(client):
    first, second = client.generate(["red", "red"], seed=[1, 2], temperature=[1.0, 0.5])
    assert client.generate(["red"], seed=2, temperature=0.5) == [second]
    assert first != second


def test_what_is_not_given_is_the_default_of_the_model(client):
    defaults = {
        "guidance_scale": 10,
        "guidance_scale_end": -1,
        "temperature": 1,
        "top_k": 50,
        "top_p": 1,
    }
    prompts = ["red", "blue"]
    assert client.generate(prompts) == client.generate(prompts, **defaults)
    assert client.generate(prompts, top_k=3) != client.generate(prompts)


def test_row_errors_name_the_row_and_keep_the_others(client):
    with pytest.raises(RowError, match="1 of 2 rows failed: row 1: `temp") as error:
        client.generate(["red", "red"], temperature=[1.0, -1.0])
    assert list(error.value.errors) == [1]
    assert colour(error.value.images[1]) == (255, 255, 255)
    assert error.value.images[:1] == client.generate(["red"])


def test_wrong_number_of_values(client):
    with pytest.raises(ValueError, match="each of the 2 rows"):
        client.generate(["red", "blue"], seed=[1, 2, 3])


def test_parameters_may_be_arrays(client):
    prompts = ["red", "blue"]
    temperature = [1.0, 0.5]
    assert client.generate(prompts, temperature=np.array(temperature)) == (
        client.generate(prompts, temperature=temperature)
    )


@pytest.mark.parametrize(
    "name, value",
    [
        ("seed", 10**20),
        ("seed", [0, -(10**20)]),
        ("top_k", 99999999999),
        ("top_k", np.array([0, 99999999999])),
    ],
)
def test_integers_out_of_range_are_named(name, value):
    names = ("guidance_scale", "guidance_scale_end", "temperature", "top_k", "top_p")
    parameters = dict.fromkeys(names, 1)
    with (
        PredictionClient("127.0.0.1:1") as client,
        pytest.raises(
            ValueError, match=f"`{name}` must fit int(64|32). Received: .*(99|00)"
        ),
    ):
        client.generate(["red", "blue"], **{**parameters, name: value})


@pytest.mark.parametrize(
    ("prompts", "controls", "message"),
    [
        ("red heart", {}, "`prompt` must be a list, one per row. .*: 'red heart'"),
        (None, {}, "`prompt` must be a text, or a list of texts. Received: None"),
        (["red", 3.0], {}, "`prompt` must be a text, .* 3.0"),
        (["red"], {"negative_prompts": [b"x", None]}, "`negative_prompt` must be"),
        (["red"], {"seed": 2.5}, "`seed` must be an integer, .* 2.5"),
        (["red"], {"seed": [True]}, "`seed` must be an integer, .* True"),
        (["red"], {"top_k": "7"}, "`top_k` must be an integer, .* '7'"),
        (["red"], {"temperature": "1"}, "`temperature` must be a number, .* '1'"),
    ],
)
def test_values_of_another_kind_are_named(client, prompts, controls, message):
    with pytest.raises(ValueError, match=message):
        client.generate(prompts, **controls)
    if isinstance(prompts, list):
        client.generate(["red"], seed=np.int32(7), temperature=np.float16(1))


def test_one_file_is_no_list_of_files(client):
    with pytest.raises(ValueError, match="`image_bytes` must be a list, one per row"):
        client.encode_image(b"some file")
    with pytest.raises(ValueError, match="`image_bytes` must be bytes, .* 'cat.png'"):
        client.encode_image(["cat.png"])


def test_metadata_and_status(client):
    assert set(client.metadata()) >= {"serving_default"}
    assert client.status() == {12: "AVAILABLE"}


def test_unreachable_server_is_named():
    with (
        PredictionClient("127.0.0.1:1") as client,
        pytest.raises(PredictionClientError, match="127.0.0.1:1 answered UNAVAIL"),
    ):
        client.status()


def test_refusal_carries_code_and_text(target):
    with (
        PredictionClient(target, model_name="x") as client,
        pytest.raises(PredictionClientError) as error,
    ):
        client.generate(["red"])
    assert error.value.code == grpc.StatusCode.NOT_FOUND
    assert error.value.details == "Servable not found for request: Latest(x)"
