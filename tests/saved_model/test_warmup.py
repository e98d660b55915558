"""Warm-up records are good requests, and a server that loads the version runs them."""

import collections

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from keras_dalle.prediction_service import warmup as server_side
from keras_dalle.prediction_service.predict import predict_arrays
from keras_dalle.prediction_service.servables import Servable
from keras_dalle.prediction_service.session import SavedModelSession
from keras_dalle.saved_model.exporter import export_saved_model
from keras_dalle.saved_model.graph import read_meta_graph, signatures_of
from keras_dalle.saved_model.warmup import WARMUP_FILE, write_warmup_records
from tests.toy_task import ToyTask, export_toy


def records(path):
    return [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(path / WARMUP_FILE))
    ]


def test_each_signature_and_size_has_a_good_request(tmp_path):
    path = export_saved_model(ToyTask(), tmp_path, warmup_batch_sizes=[4, 1, 4])
    servable = Servable("dalle", 1, SavedModelSession(path))
    sizes = collections.defaultdict(list)
    for log in records(path):
        request = log.predict_log.request
        outputs = predict_arrays(servable, request)
        assert set(outputs["error"]) == {b""}
        sizes[request.model_spec.signature_name].append(len(outputs["error"]))
    assert sizes == {name: [1, 4] for name in signatures_of(read_meta_graph(path))}


def test_server_runs_them_when_it_loads(tmp_path, monkeypatch):
    path = export_toy(tmp_path)
    replayed = []
    replay = server_side._replay
    monkeypatch.setattr(
        server_side,
        "_replay",
        lambda *args: (replay(*args), replayed.append(args[1])),
    )
    from keras_dalle.prediction_service.loading import VersionLoader

    VersionLoader()("dalle", 1, path).close()
    assert len(replayed) == len(signatures_of(read_meta_graph(path)))


def test_no_sizes_no_file(tmp_path):
    path = export_saved_model(ToyTask(), tmp_path, warmup_batch_sizes=[])
    assert not (path / WARMUP_FILE).exists()


@pytest.mark.parametrize("sizes", [[4, 0], [1025], [1, 5000]])
def test_other_sizes_are_refused_before_anything_is_written(tmp_path, sizes):
    with pytest.raises(ValueError, match="at least 1 and at most 1024") as error:
        export_saved_model(ToyTask(), tmp_path, warmup_batch_sizes=sizes)
    assert f"Received: {sizes}" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_more_records_than_a_server_takes_are_refused(tmp_path, monkeypatch):
    path = export_toy(tmp_path)
    monkeypatch.setattr("keras_dalle.saved_model.warmup.MAX_RECORDS", 3)
    with pytest.raises(ValueError, match="at most 3 warm-up records.*Received: 4"):
        write_warmup_records(path, [1, 1024])
