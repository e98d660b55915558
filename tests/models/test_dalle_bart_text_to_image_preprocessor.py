import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.models.dalle_bart.dalle_bart_text_to_image import DalleBartTextToImage
from keras_dalle.models.dalle_bart.dalle_bart_text_to_image_preprocessor import (
    DalleBartTextToImagePreprocessor,
)
from keras_dalle.models.dalle_bart.dalle_bart_tokenizer import DalleBartTokenizer
from keras_dalle.prediction_service.session import SavedModelSession
from keras_dalle.saved_model.exporter import export_saved_model
from keras_dalle.saved_model.verify import verify_saved_model
from tests.tiny_preset import TOKENIZER_DIRECTORY, tiny_task

PROMPT, NORMALIZED = "A RED   Heart!!", " a red heart"
BLANK, SPACE = [0, 2, 1, 1], [0, 225, 2, 1]


@pytest.fixture(scope="module")
def tokenizer():
    return DalleBartTokenizer.from_files(TOKENIZER_DIRECTORY)


@pytest.fixture(scope="module")
def normalizing(tokenizer):
    return DalleBartTextToImagePreprocessor(tokenizer, 16, normalize_text=True)


@pytest.fixture(scope="module")
def plain(tokenizer):
    return DalleBartTextToImagePreprocessor(tokenizer, 16)


@pytest.fixture(scope="module")
def task(normalizing):
    tiny = tiny_task()
    return DalleBartTextToImage(tiny.backbone, normalizing, tiny.vqgan)


def ids_of(inputs):
    return inputs["encoder_token_ids"].numpy().tolist()


def test_normalizes_prompts(normalizing, plain):
    ids = ids_of(normalizing.generate_preprocess([PROMPT, "x"]))
    assert ids == ids_of(plain.generate_preprocess([NORMALIZED, " x"]))
    assert ids[0] == ids_of(normalizing.generate_preprocess([NORMALIZED]))[0]
    assert ids != ids_of(plain.generate_preprocess([PROMPT, "x"]))


def test_normalizes_captions(normalizing, plain):
    image_tokens = np.zeros((2, 16), "int32")
    x, y = normalizing({"captions": [PROMPT, "B"], "image_tokens": image_tokens})
    expected = plain.generate_preprocess([NORMALIZED, " b"])
    assert ids_of(x) == ids_of(expected)
    np.testing.assert_array_equal(y, image_tokens)


def test_normalizes_in_tf_data(normalizing):
    data = tf.data.Dataset.from_tensors(
        {"captions": [PROMPT], "image_tokens": np.zeros((1, 16), "int32")}
    )
    ((x, _),) = data.map(normalizing)
    assert ids_of(x) == ids_of(normalizing.generate_preprocess([PROMPT]))


@pytest.mark.parametrize("name", ["plain", "normalizing"])
def test_one_text_is_as_one_of_a_batch(name, request):
    preprocessor = request.getfixturevalue(name)
    for preprocess in (
        preprocessor.generate_preprocess,
        preprocessor.negative_preprocess,
    ):
        one, batch = (
            preprocess("Two hats"),
            preprocess(["Two hats", "a much longer one"]),
        )
        for key, values in one.items():
            np.testing.assert_array_equal(values, batch[key][0])


def test_one_sample_is_as_one_of_a_batch(plain):
    data = {"captions": ["a hat", ""], "image_tokens": np.arange(32).reshape(2, 16)}
    x, y, weight = plain(data, sample_weight=np.ones(2))
    one_x, one_y = plain({name: values[0] for name, values in data.items()})
    dataset = tf.data.Dataset.from_tensor_slices(data).map(plain).batch(2)
    ((in_graph, _),) = dataset
    for name, values in x.items():
        np.testing.assert_array_equal(one_x[name], values[0])
        np.testing.assert_array_equal(in_graph[name], values)
    np.testing.assert_array_equal(one_y, y[0])


def test_what_comes_of_arrays_is_what_a_model_takes(task):
    data = {"captions": np.array(["a", "b"]), "image_tokens": np.ones((2, 16), "int64")}
    x, y = task.preprocessor(data)
    assert task(x).shape == (2, 16, 33) and y.dtype == "int32"
    assert task(task.preprocessor({**data, "captions": ["a", "b"]})[0]).shape[0] == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"captions": ["a"], "images": [0]}, "has no VQGAN .* `encode_images`"),
        (
            {"captions": ["a"], "images": [0], "image_tokens": [[0]]},
            "one of `images` and `image_tokens`. Received: both",
        ),
        (["a"], "`captions` and `image_tokens`. Received: list"),
        ({"captions": ["a"], "image_tokens": [[0.5]]}, "must be integers .* float64"),
        ({"captions": [None], "image_tokens": [[0]]}, "must be a text, .* None"),
    ],
)
def test_faults_are_named(plain, data, message):
    with pytest.raises(ValueError, match=message):
        plain(data)


@pytest.mark.parametrize("prompts", [5, None, ["a", None], [["a"]], tf.constant([1])])
def test_what_are_no_prompts(plain, prompts):
    for preprocess in (plain.generate_preprocess, plain.negative_preprocess):
        with pytest.raises(ValueError, match="`prompts` must be .* text"):
            preprocess(prompts)


@pytest.mark.parametrize("text", ["", " \n", "!!"])
def test_empty_prompts(normalizing, plain, text):
    """As in the original: a space when drawn, the blank caption in guidance."""
    (ids,) = ids_of(normalizing.generate_preprocess([text]))
    assert ids[:4] == SPACE
    (ids,) = ids_of(normalizing.negative_preprocess([text]))
    assert ids[:4] == BLANK
    assert ids_of(plain.negative_preprocess([text])) == ids_of(
        plain.generate_preprocess([text])
    )


def test_negative_prompts_are_normalized(normalizing):
    negative = normalizing.negative_preprocess([PROMPT])
    assert ids_of(negative) == ids_of(normalizing.generate_preprocess([PROMPT]))


def test_config(normalizing, plain):
    restored = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(normalizing)
    )
    assert restored.normalize_text and restored.max_text_length == 16
    assert not DalleBartTextToImagePreprocessor.from_config(
        {"tokenizer": plain.tokenizer}
    ).normalize_text


def test_preset(task, normalizing, tmp_path):
    task.save_to_preset(str(tmp_path))
    restored = DalleBartTextToImagePreprocessor.from_preset(str(tmp_path))
    expected = ids_of(normalizing.generate_preprocess([PROMPT]))
    assert ids_of(restored.generate_preprocess([PROMPT])) == expected


@pytest.mark.parametrize("field", [True, False, None])
def test_from_original(tmp_path, field):
    folder = tmp_path / "original"
    shutil.copytree(TOKENIZER_DIRECTORY, folder)
    config = {"model_type": "dallebart", "max_text_length": 12}
    if field is not None:
        config["normalize_text"] = field
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    preprocessor = DalleBartTextToImagePreprocessor.from_preset(folder)
    assert preprocessor.max_text_length == 12
    assert preprocessor.normalize_text is bool(field)


def test_generate(task):
    images = task.generate([PROMPT, NORMALIZED, "a cat"], seed=3)
    np.testing.assert_array_equal(images[0], images[1])
    assert (images[0] != images[2]).any()
    # What guidance leads away from is the blank caption, not a space.
    blank = {"prompts": [PROMPT], "negative_prompts": " "}
    np.testing.assert_array_equal(task.generate(blank, seed=3), images[:1])


def test_saved_model_normalizes(task, tmp_path):
    reports = []
    path = export_saved_model(
        task, tmp_path, check=lambda *args: reports.append(verify_saved_model(*args))
    )
    assert {use.library for use in reports[0].operations} == {"core"}

    session = SavedModelSession(path)
    signature = session.signatures["serving_default"]
    rows = {
        "prompt": np.array([PROMPT, NORMALIZED, "a cat"], object),
        "negative_prompt": np.array([""] * 3, object),
        "seed": np.full(3, 3, np.int64),
        "guidance_scale": np.full(3, 10.0, np.float32),
        "temperature": np.ones(3, np.float32),
        "top_k": np.full(3, 50, np.int32),
        "top_p": np.ones(3, np.float32),
        "guidance_scale_end": -np.ones(3, np.float32),
    }
    feeds = {signature.inputs[name].name: array for name, array in rows.items()}
    images, errors = session.run(
        feeds, [signature.outputs[name].name for name in ("image_bytes", "error")]
    )
    session.close()
    assert set(errors) == {b""}
    assert images[0] == images[1] != images[2]
    drawn = tf.io.decode_png(images[0]).numpy()
    np.testing.assert_array_equal(drawn, task.generate(PROMPT, seed=3))
