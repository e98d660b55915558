"""Metrics under the stock server's names, as its Prometheus page shows them.

The names have no `_total`, which the usual client library would add. Like the stock
server's, the metrics are the process's.
"""

import bisect
import threading
from collections.abc import Iterator

# Clients choose model names, so the number and length of lines must be bounded.
MAX_SERIES = 1000
MAX_LABEL_CHARACTERS = 256
OTHER = "other"
_Labels = tuple[str, ...]


class Metric:
    """Values by labels.

    Args:
        name: With slashes, as TensorFlow has it.
        labels: Names of the labels.
    """

    kind = "untyped"

    def __init__(self, name: str, *labels: str):
        self.name = name.replace("/", ":")
        self._labels = labels
        self._lock = threading.Lock()
        self._series: dict[_Labels, list[float]] = {}

    def lines(self) -> Iterator[str]:
        yield f"# TYPE {self.name} {self.kind}"
        with self._lock:
            series = [(labels, list(cells)) for labels, cells in self._series.items()]
        for labels, cells in series:
            pairs = [
                f'{name}="{_escaped(value)}"'
                for name, value in zip(self._labels, labels, strict=True)
            ]
            yield from self._series_lines(pairs, cells)

    def _series_lines(self, pairs: list[str], cells: list[float]) -> Iterator[str]:
        raise NotImplementedError

    def _cells(self, labels: _Labels, count: int) -> list[float]:
        labels = tuple(label[:MAX_LABEL_CHARACTERS] for label in labels)
        if labels not in self._series and len(self._series) >= MAX_SERIES:
            labels = (OTHER,) * len(self._labels)
        return self._series.setdefault(labels, [0] * count)


class Counter(Metric):
    kind = "counter"

    def increment(self, *labels: str, by: int = 1) -> None:
        with self._lock:
            self._cells(labels, 1)[0] += by

    def value(self, *labels: str) -> int:
        with self._lock:
            return int(self._series.get(labels, [0])[0])

    def _series_lines(self, pairs: list[str], cells: list[float]) -> Iterator[str]:
        yield f"{self.name}{{{','.join(pairs)}}} {int(cells[0])}"


class Histogram(Metric):
    """A distribution.

    Args:
        bounds: Where the buckets end; one more ends at infinity.
    """

    kind = "histogram"

    def __init__(self, name: str, *labels: str, bounds: list[float]):
        super().__init__(name, *labels)
        self._bounds = bounds

    def observe(self, value: float, *labels: str) -> None:
        bucket = bisect.bisect_right(self._bounds, value)
        with self._lock:
            # The buckets, and after them the sum.
            cells = self._cells(labels, len(self._bounds) + 2)
            cells[bucket] += 1
            cells[-1] += value

    def _series_lines(self, pairs: list[str], cells: list[float]) -> Iterator[str]:
        total = 0
        for bound, cell in zip([*self._bounds, None], cells, strict=False):
            total += int(cell)
            limit = "+Inf" if bound is None else f"{bound:g}"
            labels = ",".join([*pairs, f'le="{limit}"'])
            yield f"{self.name}_bucket{{{labels}}} {total}"
        yield f"{self.name}_sum{{{','.join(pairs)}}} {cells[-1]:g}"
        yield f"{self.name}_count{{{','.join(pairs)}}} {total}"


# Microseconds, to about 20 minutes.
_LATENCY = [10 * 1.8**i for i in range(33)]
REQUEST_COUNT = Counter("/tensorflow/serving/request_count", "model_name", "status")
REQUEST_LATENCY = Histogram(
    "/tensorflow/serving/request_latency",
    "model_name",
    "API",
    "entrypoint",
    bounds=_LATENCY,
)
RUNTIME_LATENCY = Histogram(
    "/tensorflow/serving/runtime_latency",
    "model_name",
    "API",
    "runtime",
    bounds=_LATENCY,
)
QUEUING_LATENCY = Histogram(
    "/tensorflow/serving/batching_session/queuing_latency",
    "thread_pool_name",
    bounds=[100 * 1.2**i for i in range(52)],
)
BATCH_RUN_COUNT = Counter("/tensorflow/serving/batching_session/wrapped_run_count")
BATCH_SIZE = Histogram(
    "/tensorflow/serving/batching_session/processed_batch_size",
    bounds=[2.0**i for i in range(14)],
)
# These count Classify, Regress and MultiInference, for which no model here has
# signatures. So they have no values, as in a stock server with such models.
REQUEST_EXAMPLE_COUNTS = Histogram(
    "/tensorflow/serving/request_example_counts",
    "model",
    bounds=[2.0**i for i in range(15)],
)
REQUEST_EXAMPLE_COUNT_TOTAL = Counter(
    "/tensorflow/serving/request_example_count_total", "model"
)
LOAD_SUCCEEDED, LOAD_FAILED = "success", "fail"
LOAD_ATTEMPT_COUNT = Counter(
    "/tensorflow/cc/saved_model/load_attempt_count", "model_path", "status"
)
# In microseconds, for all attempts together.
LOAD_LATENCY = Counter("/tensorflow/cc/saved_model/load_latency", "model_path")
ALL = (
    LOAD_ATTEMPT_COUNT,
    LOAD_LATENCY,
    REQUEST_EXAMPLE_COUNTS,
    REQUEST_EXAMPLE_COUNT_TOTAL,
    REQUEST_COUNT,
    REQUEST_LATENCY,
    RUNTIME_LATENCY,
    QUEUING_LATENCY,
    BATCH_RUN_COUNT,
    BATCH_SIZE,
)


def page() -> str:
    """All metrics as text for Prometheus."""
    return "\n".join(line for metric in ALL for line in metric.lines()) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
