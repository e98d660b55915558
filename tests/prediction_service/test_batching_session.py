"""Rows of several callers in one run, and apart again."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.prediction_service import metrics
from keras_dalle.prediction_service.batch_scheduler import BatchScheduler
from keras_dalle.prediction_service.batching_options import BatchingOptions
from keras_dalle.prediction_service.batching_session import BatchingSession
from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.session import SavedModelSession
from tests.serving_contract.models import Echo, Slow, save
from tests.serving_contract.running_server import PATIENCE_S, wait_for

FLOATS = tf.TensorSpec([None, None], tf.float32, name="x")


class Shapes(tf.Module):
    """Outputs that say with how many rows they were computed, and bad ones."""

    @tf.function(input_signature=[FLOATS])
    def rows(self, x):
        return {"x": x, "rows": tf.fill([tf.shape(x)[0]], tf.shape(x)[0])}

    @tf.function(input_signature=[FLOATS])
    def scalar(self, x):
        return {"sum": tf.reduce_sum(x)}

    @tf.function(input_signature=[FLOATS])
    def transposed(self, x):
        return {"x": tf.transpose(x)}

    def signatures(self):
        return {
            "serving_default": self.rows,
            "scalar": self.scalar,
            "transposed": self.transposed,
        }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    for name, module in {"shapes": Shapes(), "echo": Echo(), "slow": Slow()}.items():
        save(module, folder / name)
    return folder


@pytest.fixture
def batching(folder):
    """Makes sessions whose batches wait until they are full, unless a test says."""
    sessions, schedulers = [], []

    def make(model, **options):
        options = BatchingOptions(
            **{"batch_timeout_micros": 600_000_000, "num_batch_threads": 1, **options}
        )
        scheduler = BatchScheduler(options.num_batch_threads)
        schedulers.append(scheduler)
        session = SavedModelSession(folder / model)
        sessions.append(BatchingSession(session, scheduler, options))
        return sessions[-1]

    yield make
    for session in sessions:
        session.close()
    for scheduler in schedulers:
        scheduler.close()


def call(session, signature="serving_default", timeout_ms=0, **arrays):
    """Outputs by alias."""
    signature = session.signatures[signature]
    feeds = {signature.inputs[alias].name: a for alias, a in arrays.items()}
    fetches = [info.name for info in signature.outputs.values()]
    outputs = session.run(feeds, fetches, timeout_ms)
    return dict(zip(signature.outputs, outputs, strict=True))


def calls(session, *requests):
    """The outcomes of calls at the same time: outputs or exceptions."""
    with ThreadPoolExecutor(len(requests)) as pool:
        futures = [pool.submit(call, session, **arrays) for arrays in requests]
        return [future.exception() or future.result() for future in futures]


def rows_of(*values):
    return np.float32(values).reshape(-1, 1)


def texts_of(*values):
    return {
        "text": np.array(values, object),
        "number": np.arange(len(values), dtype=np.int64),
    }


def test_callers_share_a_run_and_get_their_own_rows(batching):
    session = batching("shapes", max_batch_size=3)
    first, second = calls(session, {"x": rows_of(1, 2)}, {"x": rows_of(3)})
    assert first["x"].ravel().tolist() == [1, 2]
    assert second["x"].ravel().tolist() == [3]
    assert first["rows"].tolist() == [3, 3] and second["rows"].tolist() == [3]


def test_a_batch_is_padded_to_an_allowed_size(batching):
    session = batching(
        "shapes",
        allowed_batch_sizes=(2, 4, 8),
        max_batch_size=8,
        batch_timeout_micros=2_000_000,
    )
    outcomes = calls(session, {"x": rows_of(1, 2)}, {"x": rows_of(3)})
    assert [outcome["rows"].tolist() for outcome in outcomes] == [[4, 4], [4]]
    assert outcomes[1]["x"].ravel().tolist() == [3]


def test_a_large_request_is_split(batching):
    session = batching(
        "shapes",
        max_batch_size=10,
        max_execution_batch_size=4,
        enable_large_batch_splitting=True,
        batch_timeout_micros=0,
    )
    outputs = call(session, x=rows_of(*range(9)))
    assert outputs["x"].ravel().tolist() == list(range(9))
    assert outputs["rows"].tolist() == [4] * 8 + [1]
    with pytest.raises(ServingError, match="Task size 11 is larger than maximum"):
        call(session, x=rows_of(*range(11)))


def test_other_inner_shapes_run_apart(batching):
    session = batching("shapes", batch_timeout_micros=500_000)
    first, second = calls(
        session, {"x": rows_of(1)}, {"x": np.ones([2, 5], np.float32)}
    )
    assert first["rows"].tolist() == [1] and second["rows"].tolist() == [2, 2]


def test_other_inner_shapes_are_padded_where_asked(batching):
    session = batching("shapes", max_batch_size=3, pad_variable_length_inputs=True)
    first, second = calls(
        session, {"x": np.float32([[7, 8]])}, {"x": np.float32([[1, 2, 3, 4]] * 2)}
    )
    # With its own first element, behind, as the stock server does.
    assert first["x"].tolist() == [[7, 8, 7, 7]]
    assert second["x"].tolist() == [[1, 2, 3, 4]] * 2
    assert first["rows"].tolist() == [3]


def test_an_empty_row_cannot_be_padded_and_runs_apart(batching):
    session = batching(
        "shapes", batch_timeout_micros=500_000, pad_variable_length_inputs=True
    )
    first, second = calls(
        session, {"x": np.zeros([1, 0], np.float32)}, {"x": rows_of(1)}
    )
    assert first["x"].shape == (1, 0) and first["rows"].tolist() == [1]
    assert second["rows"].tolist() == [1]


def test_a_faulty_row_is_its_own_callers_error(batching):
    runs = metrics.BATCH_RUN_COUNT.value()
    session = batching("echo", max_batch_size=3)
    good, bad = calls(session, texts_of(b"a", b"b"), texts_of(b"bad"))
    assert list(good["text"]) == [b"a", b"b"]
    assert isinstance(bad, tf.errors.InvalidArgumentError)
    assert metrics.BATCH_RUN_COUNT.value() == runs + 3


def test_a_wrong_type_goes_alone(batching):
    wrong = {**texts_of(b"a"), "number": np.zeros(1, np.int32)}
    good, bad = calls(batching("echo", max_batch_size=1), texts_of(b"a"), wrong)
    assert list(good["text"]) == [b"a"]
    assert "to be int64 but int32 is provided" in str(bad)


@pytest.mark.parametrize(
    "number, message",
    [
        (np.int64(3), "Batching Run() input tensors must have at least one dimension"),
        (
            np.arange(3),
            "Batching Run() input tensors must have equal 0th-dimension size",
        ),
    ],
    ids=["scalar", "rows"],
)
def test_rows_must_agree(batching, number, message):
    with pytest.raises(ServingError) as error:
        call(batching("echo"), **{**texts_of(b"a"), "number": np.asarray(number)})
    assert error.value.code.name == "INVALID_ARGUMENT"
    assert error.value.message == message


@pytest.mark.parametrize(
    "signature, message",
    [
        ("scalar", "Batched output tensor has 0 dimensions"),
        ("transposed", "Batched output tensor's 0th dimension does not equal"),
    ],
)
def test_outputs_must_have_the_rows(batching, signature, message):
    with pytest.raises(ServingError, match=message) as error:
        call(batching("shapes", max_batch_size=2), signature, x=rows_of(1, 2))
    assert error.value.code.name == "FAILED_PRECONDITION"


def test_no_rows(batching):
    outputs = call(batching("shapes"), x=np.zeros([0, 1], np.float32))
    assert outputs["rows"].tolist() == []


def test_a_deadline_stops_a_batch(batching):
    session = batching("slow", batch_timeout_micros=0)
    # The graph's loop takes minutes.
    start = time.monotonic()
    with pytest.raises(tf.errors.DeadlineExceededError):
        call(session, timeout_ms=300, x=np.float32([1.0]))
    assert time.monotonic() - start < PATIENCE_S


def test_what_is_late_in_the_queue_is_not_run(batching):
    session = batching("slow", batch_timeout_micros=0)
    blocking = threading.Thread(
        target=lambda: pytest.raises(
            tf.errors.DeadlineExceededError,
            call,
            session,
            timeout_ms=3000,
            x=np.float32([1.0]),
        )
    )
    runs = metrics.BATCH_RUN_COUNT.value()
    blocking.start()
    wait_for(lambda: metrics.BATCH_RUN_COUNT.value() == runs + 1)
    with pytest.raises(ServingError) as error:
        call(session, timeout_ms=100, x=np.float32([0.0]))
    assert error.value.code.name == "RESOURCE_EXHAUSTED"
    assert error.value.message == (
        "Run() timeout exceeded while waiting in batching queue"
    )
    blocking.join()
