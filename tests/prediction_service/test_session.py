import re
import time

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.python.client import pywrap_tf_session

from keras_dalle.prediction_service.session import SavedModelSession
from keras_dalle.prediction_service.tensors import parse_tensor

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


def test_deadline_stops_the_run(session):
    feeds = feeds_of(session, prompt=np.array([b"slow"], object))
    start = time.monotonic()
    with pytest.raises(tf.errors.DeadlineExceededError):
        session.run(feeds, [output_name(session, "image_bytes")], timeout_ms=200)
    assert time.monotonic() - start < 60


@pytest.mark.parametrize(
    "proto",
    [
        tensor_pb2.TensorProto(),
        tensor_pb2.TensorProto(dtype=77),
        tensor_pb2.TensorProto(
            dtype=tf.float32.as_datatype_enum,
            tensor_shape=tf.TensorShape([1]).as_proto(),
            tensor_content=b"123",
        ),
        tensor_pb2.TensorProto(
            dtype=tf.float32.as_datatype_enum,
            tensor_shape=tf.TensorShape([None]).as_proto(),
        ),
    ],
    ids=["empty", "unknown type", "short content", "unknown shape"],
)
def test_malformed_proto_is_refused(proto):
    with pytest.raises(ValueError, match="Not a tensor"):
        parse_tensor(proto)


def test_missing_values_repeat_the_last_as_in_cpp():
    proto = tensor_pb2.TensorProto(
        dtype=tf.int64.as_datatype_enum,
        tensor_shape=tf.TensorShape([4]).as_proto(),
        int64_val=[3, 5],
    )
    np.testing.assert_array_equal(parse_tensor(proto), [3, 5, 5, 5])
