"""A session that runs the rows of several callers at once.

As the stock server's `BatchingSession`, with one difference: a request that cannot go
with its neighbours goes alone, and does not take them along into its error.
"""

import functools
import threading
import time
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from keras_dalle.prediction_service import errors, metrics
from keras_dalle.prediction_service.batch_scheduler import (
    BatchQueue,
    BatchScheduler,
    BatchTask,
)
from keras_dalle.prediction_service.batching_options import BatchingOptions
from keras_dalle.prediction_service.session import SavedModelSession

_Names = tuple[str, ...]
_Arrays = dict[str, np.ndarray]


class BatchingSession:
    """Batches calls that feed and fetch the same tensors.

    Args:
        session: Runs the batches; it is closed with this one.
        scheduler: Whose threads they run on.
        options: How to batch.
    """

    def __init__(
        self,
        session: SavedModelSession,
        scheduler: BatchScheduler,
        options: BatchingOptions,
    ):
        self._session = session
        self._scheduler = scheduler
        self._options = options
        self._lock = threading.Lock()
        self._queues: dict[tuple[_Names, _Names], BatchQueue] = {}

    @property
    def signatures(self) -> Mapping[str, meta_graph_pb2.SignatureDef]:
        return self._session.signatures

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        timeout_ms: int = 0,
    ) -> list[np.ndarray]:
        """Waits for a batch with these rows to run.

        Args:
            feeds: Arrays [B, ...] by tensor name.
            fetches: Tensor names.
            timeout_ms: Milliseconds until the caller's deadline; 0 for never.

        Raises:
            ServingError: The rows cannot be batched, or the queue is full.
            tf.errors.OpError: With the C++ session's own code and text.
        """
        rows = common_rows(feeds)
        if rows == 0 or not self._session.fits(feeds):
            return self._session.run(feeds, fetches, timeout_ms)
        deadline = time.monotonic() + timeout_ms / 1e3 if timeout_ms else None
        kind = tuple((name, self._joinable(feeds[name])) for name in sorted(feeds))
        task = BatchTask(dict(feeds), rows, kind, deadline)
        queue = self._queue(tuple(sorted(feeds)), tuple(sorted(set(fetches))))
        pieces = [future.result() for future in queue.schedule(task, _split)]
        if len(pieces) == 1:
            return [pieces[0][name] for name in fetches]
        return [np.concatenate([p[name] for p in pieces]) for name in fetches]

    def close(self) -> None:
        with self._lock:
            for queue in self._queues.values():
                self._scheduler.remove_queue(queue)
            self._queues.clear()
        self._session.close()

    def _joinable(self, array: np.ndarray) -> tuple[int, ...] | int:
        """What two arrays must share to go into one batch."""
        pads = self._options.pad_variable_length_inputs
        return array.ndim if pads and array.size else array.shape[1:]

    def _queue(self, feeds: _Names, fetches: _Names) -> BatchQueue:
        with self._lock:
            key = (feeds, fetches)
            if key not in self._queues:
                process = functools.partial(self._process, fetches)
                self._queues[key] = self._scheduler.add_queue(self._options, process)
            return self._queues[key]

    def _process(self, fetches: _Names, tasks: list[BatchTask]) -> None:
        live, timeout_ms = self._in_time(tasks)
        if live:
            self._run_tasks(fetches, live, timeout_ms)

    def _run_tasks(
        self, fetches: _Names, tasks: list[BatchTask], timeout_ms: int
    ) -> None:
        try:
            outputs = self._run_batch([t.content for t in tasks], fetches, timeout_ms)
        except tf.errors.InvalidArgumentError as error:
            if len(tasks) == 1:
                tasks[0].result.set_exception(error)
                return
            # Some row is at fault. Alone it is its own caller's error.
            for task in tasks:
                self._run_tasks(fetches, [task], timeout_ms)
        except (tf.errors.OpError, errors.ServingError) as error:
            for task in tasks:
                task.result.set_exception(error)
        else:
            start = 0
            for task in tasks:
                end = start + task.rows
                task.result.set_result({n: a[start:end] for n, a in outputs.items()})
                start = end

    def _in_time(self, tasks: list[BatchTask]) -> tuple[list[BatchTask], int]:
        """Those whose deadline is not over, and the last deadline in milliseconds."""
        now = time.monotonic()
        pool = self._options.thread_pool_name
        late = [t for t in tasks if t.deadline is not None and t.deadline <= now]
        for task in tasks:
            metrics.QUEUING_LATENCY.observe((now - task.enqueued) * 1e6, pool)
        for task in late:
            task.result.set_exception(errors.timeout_in_queue())
        live = [task for task in tasks if task not in late]
        deadlines = [task.deadline for task in live if task.deadline is not None]
        if not deadlines or len(deadlines) < len(live):
            return live, 0
        return live, max(1, int((max(deadlines) - now) * 1e3))

    def _run_batch(
        self, contents: list[_Arrays], fetches: _Names, timeout_ms: int
    ) -> _Arrays:
        rows = sum(common_rows(content) for content in contents)
        padded = self._options.padded(rows)
        merged = {}
        for name in contents[0]:
            # Padding is a row that is valid: the first of the last task.
            parts = _of_one_shape([content[name] for content in contents])
            parts += [parts[-1][:1]] * (padded - rows)
            merged[name] = np.concatenate(parts) if len(parts) > 1 else parts[0]
        metrics.BATCH_SIZE.observe(padded)
        metrics.BATCH_RUN_COUNT.increment()
        arrays = self._session.run(merged, fetches, timeout_ms)
        for array in arrays:
            if not np.shape(array):
                raise errors.scalar_output()
            if np.shape(array)[0] != padded:
                raise errors.wrong_output_rows()
        return dict(zip(fetches, arrays, strict=True))


def common_rows(feeds: Mapping[str, np.ndarray]) -> int:
    """The size of dimension 0, which all arrays share.

    Raises:
        ServingError: They do not.
    """
    if not feeds:
        raise errors.no_batched_input()
    shapes = [np.shape(array) for array in feeds.values()]
    if not all(shapes):
        raise errors.scalar_input()
    if len({shape[0] for shape in shapes}) > 1:
        raise errors.unequal_rows()
    return shapes[0][0]


def _of_one_shape(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Arrays [B, ...] whose other dimensions are the largest of all.

    As the stock server pads: behind, with the first element of each array.
    """
    sizes = np.max([array.shape[1:] for array in arrays], axis=0).astype(int)
    return [
        array
        if array.shape[1:] == tuple(sizes)
        else np.pad(
            array,
            [(0, 0), *((0, more) for more in sizes - array.shape[1:])],
            constant_values=array.flat[0],
        )
        for array in arrays
    ]


def _split(task: BatchTask, sizes: Sequence[int]) -> list[BatchTask]:
    """Tasks of some of the rows each."""
    ends = np.cumsum(sizes)
    return [
        BatchTask(
            {name: array[end - size : end] for name, array in task.content.items()},
            size,
            task.kind,
            task.deadline,
            task.enqueued,
        )
        for size, end in zip(sizes, ends, strict=True)
    ]
