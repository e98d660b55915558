"""The text that Prometheus reads."""

import pytest

from keras_dalle.prediction_service import metrics
from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.loading import VersionLoader
from keras_dalle.prediction_service.metrics import Counter, Histogram
from tests.serving_contract.models import HalfPlus, save


def test_counter():
    counter = Counter("/tensorflow/serving/x", "model_name", "status")
    counter.increment("a", "OK")
    counter.increment("a", "OK")
    counter.increment("b", "NOT_FOUND")
    assert list(counter.lines()) == [
        "# TYPE :tensorflow:serving:x counter",
        ':tensorflow:serving:x{model_name="a",status="OK"} 2',
        ':tensorflow:serving:x{model_name="b",status="NOT_FOUND"} 1',
    ]


def test_attempts_to_load(tmp_path):
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
    good, bad = save(HalfPlus(1.0), tmp_path / "good" / "1"), tmp_path / "bad" / "2"
    bad.mkdir()
    VersionLoader()("m", 1, good).close()
    for _ in range(2):
        with pytest.raises(ServingError, match="Could not find SavedModel"):
            VersionLoader()("m", 2, bad)
    assert metrics.LOAD_ATTEMPT_COUNT.value(str(good), "success") == 1
    assert metrics.LOAD_ATTEMPT_COUNT.value(str(good), "fail") == 0
    assert metrics.LOAD_ATTEMPT_COUNT.value(str(bad), "fail") == 2
    assert metrics.LOAD_LATENCY.value(str(good)) > 1000


def test_histogram():
    histogram = Histogram("/x", "m", bounds=[1.0, 10.0])
    for value in (0.5, 5.0, 6.0, 100.0):
        histogram.observe(value, "a")
    assert list(histogram.lines()) == [
        "# TYPE :x histogram",
        ':x_bucket{m="a",le="1"} 1',
        ':x_bucket{m="a",le="10"} 3',
        ':x_bucket{m="a",le="+Inf"} 4',
        ':x_sum{m="a"} 111.5',
        ':x_count{m="a"} 4',
    ]


def test_labels_cannot_add_lines():
    counter = Counter("/x", "m")
    counter.increment('a"} 1\nfake{m="\\')
    _, line = counter.lines()
    assert line == ':x{m="a\\"} 1\\nfake{m=\\"\\\\"} 1'


def test_clients_cannot_add_series_without_end(monkeypatch):
    monkeypatch.setattr(metrics, "MAX_SERIES", 2)
    counter = Counter("/x", "m")
    for name in "abcd":
        counter.increment(name)
    lines = list(counter.lines())[1:]
    assert lines == [':x{m="a"} 1', ':x{m="b"} 1', ':x{m="other"} 2']


def test_clients_cannot_choose_how_long_a_line_is():
    counter = Counter("/x", "m")
    for end in "ab":
        counter.increment("n" * 10**6 + end)
    assert list(counter.lines())[1:] == [f':x{{m="{"n" * 256}"}} 2']
