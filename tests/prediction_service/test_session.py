import re
import time

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.client import pywrap_tf_session
from tensorflow_serving.apis import predict_pb2

from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.predict import predict
from keras_dalle.prediction_service.servables import Servable
from keras_dalle.prediction_service.session import SavedModelSession

STRINGS = np.array([b"red", b"blue"], object)


@pytest.fixture(scope="module")
def session(base_path):
    session = SavedModelSession(base_path / "1")
    yield session
    session.close()


def feeds_of(session, **arrays):
    rows = len(arrays.get("prompt", STRINGS))
    inputs = {
        "prompt": STRINGS,
        "negative_prompt": np.array([b""] * rows, object),
        "seed": np.zeros(rows, np.int64),
        "guidance_scale": np.ones(rows, np.float32),
        "temperature": np.ones(rows, np.float32),
        "top_k": np.zeros(rows, np.int32),
        "top_p": np.ones(rows, np.float32),
        "guidance_scale_end": -np.ones(rows, np.float32),
    }
    signature = session.signatures["serving_default"]
    return {
        signature.inputs[alias].name: array
        for alias, array in {**inputs, **arrays}.items()
    }


def output_name(session, alias):
    return session.signatures["serving_default"].outputs[alias].name


def test_private_names_are_there():
    names = ["TF_SessionRun_wrapper", "TF_NewBufferFromString", "TF_DeleteBuffer"]
    assert [n for n in names if not hasattr(pywrap_tf_session, n)] == []
    session = tf.compat.v1.Session(graph=tf.Graph())
    names = ["_session", "_extend_graph"]
    assert [n for n in names if not hasattr(session, n)] == []


def test_runs_a_batch(session):
    pngs, errors = session.run(
        feeds_of(session),
        [output_name(session, "image_bytes"), output_name(session, "error")],
    )
    assert [png[1:4] for png in pngs] == [b"PNG", b"PNG"]
    assert list(errors) == [b"", b""]


def test_error_is_the_sessions_own(session):
    feeds = feeds_of(session, seed=np.zeros(2, np.int32))
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        session.run(feeds, [output_name(session, "error")])
    # Session.run would make it INTERNAL, and add the feed's name.
    assert re.fullmatch(
        r"Expects arg\[\d\] to be int64 but int32 is provided", error.value.message
    )


@pytest.mark.parametrize("wrong", [np.float64, np.uint8, np.complex64, np.float16])
@pytest.mark.parametrize("aliases", [["top_p"], ["prompt"], ["seed", "temperature"]])
def test_a_wrong_dtype_is_told_as_the_session_would(session, aliases, wrong):
    arrays = dict.fromkeys(aliases, np.zeros(2, wrong))
    with pytest.raises(tf.errors.InvalidArgumentError) as of_session:
        session.run(feeds_of(session, **arrays), [output_name(session, "error")])
    request = predict_pb2.PredictRequest()
    for alias, array in {"prompt": STRINGS, **arrays}.items():
        request.inputs[alias].CopyFrom(tf.make_tensor_proto(array))
    with pytest.raises(ServingError) as error:
        predict(Servable("m", 1, session), request)
    assert error.value.message == of_session.value.message
    assert error.value.code.name == "INVALID_ARGUMENT"


def test_deadline_stops_the_run(session):
    feeds = feeds_of(session, prompt=np.array([b"slow"], object))
    start = time.monotonic()
    with pytest.raises(tf.errors.DeadlineExceededError):
        session.run(feeds, [output_name(session, "image_bytes")], timeout_ms=200)
    assert time.monotonic() - start < 60
