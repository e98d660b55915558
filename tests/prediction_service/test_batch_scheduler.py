"""Which tasks run together, and when."""

import threading
import time

import pytest

from keras_dalle.prediction_service.batch_scheduler import BatchScheduler, BatchTask
from keras_dalle.prediction_service.batching_options import BatchingOptions
from keras_dalle.prediction_service.errors import ServingError
from tests.serving_contract.running_server import PATIENCE_S

# Longer than any test waits.
LONG_MICROS = 600_000_000


class Recorder:
    """Runs batches, and holds them up until it is told to go on."""

    def __init__(self, go_on=True):
        self.batches = []
        self.running = threading.Event()
        self.go_on = threading.Event()
        if go_on:
            self.go_on.set()

    def __call__(self, tasks):
        self.batches.append([task.content for task in tasks])
        self.running.set()
        self.go_on.wait(PATIENCE_S)
        for task in tasks:
            task.result.set_result(task.content)


@pytest.fixture
def scheduler():
    scheduler = BatchScheduler(num_threads=1)
    yield scheduler
    scheduler.close()


def schedule(queue, *contents, rows=1, **fields):
    return [
        future
        for content in contents
        for future in queue.schedule(BatchTask(content, rows, **fields))
    ]


def test_a_full_batch_does_not_wait(scheduler):
    run = Recorder()
    options = BatchingOptions(max_batch_size=2, batch_timeout_micros=LONG_MICROS)
    queue = scheduler.add_queue(options, run)
    results = schedule(queue, "a", "b")
    assert [result.result(PATIENCE_S) for result in results] == ["a", "b"]
    assert run.batches == [["a", "b"]]


def test_a_batch_that_is_not_full_waits_for_its_time(scheduler):
    run = Recorder()
    options = BatchingOptions(batch_timeout_micros=1_000_000)
    queue = scheduler.add_queue(options, run)
    start = time.monotonic()
    results = schedule(queue, "a", "b")
    assert [result.result(PATIENCE_S) for result in results] == ["a", "b"]
    assert run.batches == [["a", "b"]]
    assert time.monotonic() - start >= 1.0


def test_kinds_do_not_mix(scheduler):
    run = Recorder()
    options = BatchingOptions(max_batch_size=2, batch_timeout_micros=LONG_MICROS)
    queue = scheduler.add_queue(options, run)
    results = schedule(queue, "a", kind=1) + schedule(queue, "b", "c", kind=2)
    assert [result.result(PATIENCE_S) for result in results] == ["a", "b", "c"]
    assert run.batches == [["a"], ["b", "c"]]


def test_a_full_queue_refuses_at_once(scheduler):
    run = Recorder(go_on=False)
    options = BatchingOptions(max_batch_size=1, max_enqueued_batches=2)
    queue = scheduler.add_queue(options, run)
    results = schedule(queue, "runs")
    assert run.running.wait(PATIENCE_S)
    results += schedule(queue, "waits", "waits too")
    with pytest.raises(ServingError) as error:
        schedule(queue, "too many")
    assert not results[0].done()
    assert error.value.code.name == "UNAVAILABLE"
    assert error.value.message == (
        "The batch scheduling queue to which this task was submitted is full; "
        "currently 2 batches enqueued and max_enqueued_batches is 2"
    )
    run.go_on.set()
    assert [r.result(PATIENCE_S) for r in results] == ["runs", "waits", "waits too"]


def test_a_task_that_never_fits(scheduler):
    queue = scheduler.add_queue(BatchingOptions(max_batch_size=3), Recorder())
    with pytest.raises(ServingError, match="Task size 4 is larger than maximum inp"):
        schedule(queue, "a", rows=4)


def test_queues_take_turns(scheduler):
    run = Recorder(go_on=False)
    options = BatchingOptions(max_batch_size=1)
    queues = [scheduler.add_queue(options, run) for _ in range(3)]
    results = schedule(queues[0], "blocks")
    assert run.running.wait(PATIENCE_S)
    for name, queue in zip("abc", queues, strict=True):
        results += schedule(queue, f"{name}1", f"{name}2")
    run.go_on.set()
    for result in results:
        result.result(PATIENCE_S)
    order = [content for batch in run.batches[1:] for content in batch]
    assert order == ["b1", "c1", "a1", "b2", "c2", "a2"]


def test_what_waits_still_runs_when_it_ends():
    scheduler = BatchScheduler(num_threads=2)
    run = Recorder()
    options = BatchingOptions(batch_timeout_micros=LONG_MICROS)
    first, second = (scheduler.add_queue(options, run) for _ in range(2))
    results = schedule(first, "a") + schedule(second, "b")
    scheduler.remove_queue(first)
    assert results[0].result(PATIENCE_S) == "a"
    scheduler.close()
    assert results[1].result(0) == "b"
    for queue in (first, second):
        with pytest.raises(ServingError, match="shutting down"):
            schedule(queue, "late")


def test_a_bug_is_the_callers_and_the_thread_goes_on(scheduler):
    def fail(tasks):
        raise ZeroDivisionError

    broken = scheduler.add_queue(BatchingOptions(), fail)
    with pytest.raises(ZeroDivisionError):
        schedule(broken, "a")[0].result(PATIENCE_S)
    assert schedule(scheduler.add_queue(BatchingOptions(), Recorder()), "b")[0].result(
        5
    )


@pytest.mark.parametrize(
    "values, message",
    [
        ({"max_batch_size": 0}, "max_batch_size must be positive; was 0"),
        ({"max_enqueued_batches": 0}, "max_enqueued_batches must be positive"),
        ({"num_batch_threads": 0}, "num_batch_threads must be positive"),
        ({"batch_timeout_micros": -1}, "batch_timeout_micros must be non-negative"),
        ({"allowed_batch_sizes": (4, 2)}, "must be positive and increase"),
        ({"allowed_batch_sizes": (2,)}, "Last entry in allowed_batch_sizes must match"),
    ],
)
def test_refused_options(values, message):
    with pytest.raises(ValueError, match=message):
        BatchingOptions(**values)
