"""Metrics on the page for Prometheus that test_rest.py does not look for."""

import re

from tests.serving_contract.models import VERSION_FOLDER


def test_loading(server):
    page = server.text("/monitoring/prometheus/metrics")
    for line in (
        # Both without values: nobody can call Classify, Regress or MultiInference.
        "# TYPE :tensorflow:serving:request_example_counts histogram",
        "# TYPE :tensorflow:serving:request_example_count_total counter",
        "# TYPE :tensorflow:cc:saved_model:load_attempt_count counter",
        "# TYPE :tensorflow:cc:saved_model:load_latency counter",
    ):
        assert f"\n{line}\n" in f"\n{page}"
    # The paths are as the server sees them.
    path = rf'model_path="[^"]*/half_plus_two/{VERSION_FOLDER}"'
    loads = rf':load_attempt_count{{{path},status="success"}} (\d+)'
    assert int(re.search(loads, page)[1]) >= 1
    assert int(re.search(rf":load_latency{{{path}}} (\d+)", page)[1]) > 1000
