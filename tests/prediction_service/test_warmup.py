"""A version runs its warm-up requests before others can use it."""

import shutil

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from keras_dalle.prediction_service import metrics
from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.loading import VersionLoader
from keras_dalle.prediction_service.warmup import MAX_RECORDS, WARMUP_FILE
from tests.serving_contract.models import HalfPlus, save


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save(HalfPlus(2.0), tmp_path_factory.mktemp("saved") / "1")


def predict_log(alias="x"):
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = "m"
    request.inputs[alias].CopyFrom(tf.make_tensor_proto([2.0]))
    return log


def examples_log(kind):
    """A request of examples, which a model for Predict refuses."""
    log = prediction_log_pb2.PredictionLog()
    getattr(log, kind).request.SetInParent()
    return log.SerializeToString()


def version_with(saved, folder, records):
    path = folder / "1"
    shutil.copytree(saved, path)
    file = path / WARMUP_FILE
    file.parent.mkdir()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)
    return path


def load(path, **options):
    VersionLoader(**options)("m", 1, path).close()


def predictions():
    """How often Predict has run the model."""
    name = 'runtime_latency_count{model_name="m",API="Predict",runtime="TF1"}'
    lines = metrics.RUNTIME_LATENCY.lines()
    return sum(int(line.split()[-1]) for line in lines if name in line)


def test_requests_are_replayed(saved, tmp_path):
    before = predictions()
    load(version_with(saved, tmp_path, [predict_log().SerializeToString()]))
    assert predictions() == before + 1


def test_requests_may_be_replayed_several_times(saved, tmp_path):
    path = version_with(saved, tmp_path, [predict_log().SerializeToString()] * 2)
    before = predictions()
    load(path, warmups=3)
    assert predictions() == before + 6


@pytest.mark.parametrize(
    "records, message",
    [
        ([predict_log("z").SerializeToString()], "not found in request"),
        ([b"\xff\xff\xff"], "Failed to parse warmup record"),
        ([b""], "Unsupported log_type"),
        ([examples_log("classify_log")], "No classification inputs found"),
        ([examples_log("regress_log")], "No regression inputs found"),
        ([examples_log("multi_inference_log")], "has no name specified"),
        ([predict_log().SerializeToString()] * (MAX_RECORDS + 1), "exceeds the max"),
    ],
    ids=["fails", "no record", "other", "classify", "regress", "multi", "too many"],
)
def test_a_failing_request_fails_the_load(saved, tmp_path, records, message):
    path = version_with(saved, tmp_path, records)
    with pytest.raises(ServingError, match=message):
        load(path)
    load(path, warmups=0)
