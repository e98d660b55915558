"""Queues of tasks that threads take batch by batch.

As TensorFlow's `SharedBatchScheduler`: threads are shared, take turns among the queues,
and run a batch when it is full or has waited long enough.
"""

import collections
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any

from keras_dalle.prediction_service import errors
from keras_dalle.prediction_service.batching_options import BatchingOptions

_logger = logging.getLogger(__name__)


@dataclasses.dataclass
class BatchTask:
    """What waits in a queue.

    Args:
        content: What the queue's function runs.
        rows: How much of a batch it fills.
        kind: Tasks of different kinds never share a batch.
        deadline: On the monotonic clock; None for never.
        result: Where the outcome goes.
    """

    content: Any
    rows: int
    kind: Hashable = None
    deadline: float | None = None
    enqueued: float = dataclasses.field(default_factory=time.monotonic)
    result: Future = dataclasses.field(default_factory=Future)


@dataclasses.dataclass
class _Batch:
    tasks: list[BatchTask] = dataclasses.field(default_factory=list)
    rows: int = 0

    def add(self, task: BatchTask) -> None:
        self.tasks.append(task)
        self.rows += task.rows

    def takes(self, task: BatchTask, largest: int) -> bool:
        """Whether a task of the same kind would still fit."""
        fits = self.rows + task.rows <= largest
        return not self.tasks or (fits and self.tasks[0].kind == task.kind)


class BatchQueue:
    """Tasks that may run together. Made by `BatchScheduler.add_queue`."""

    def __init__(
        self,
        options: BatchingOptions,
        process: Callable[[list[BatchTask]], None],
        changed: threading.Condition,
    ):
        self.process = process
        self._options = options
        self._changed = changed
        # The last one is open.
        self._batches = collections.deque([_Batch()])
        self.closed = False

    def schedule(self, task: BatchTask, split: Callable | None = None) -> list[Future]:
        """Enqueues a task and returns where its outcome will be.

        Args:
            task: With at least one row.
            split: Gives the tasks of `rows` slices of a task: `split(task, rows)`.

        Raises:
            ServingError: The queue is full, or never takes a task that large.
        """
        with self._changed:
            if self.closed:
                raise errors.batching_ended()
            pieces = self._pieces(task)
            if len(pieces) > 1:
                assert split is not None
                tasks = split(task, pieces)
            else:
                tasks = [task]
            for piece in tasks:
                if not self._batches[-1].takes(piece, self._options.largest_run):
                    self._batches.append(_Batch())
                self._batches[-1].add(piece)
            self._changed.notify_all()
            return [piece.result for piece in tasks]

    def ready(self, now: float) -> bool:
        """Whether a batch is to run now."""
        return bool(self._batches[0].tasks) and self.wait(now) <= 0

    def wait(self, now: float) -> float:
        """Seconds until a batch is to run if nothing comes; infinity without tasks."""
        first = self._batches[0]
        if not first.tasks:
            return float("inf")
        full = first.rows >= self._options.largest_run
        if full or len(self._batches) > 1 or self.closed:
            return 0.0
        timeout = self._options.batch_timeout_micros / 1e6
        return first.tasks[0].enqueued + timeout - now

    def take(self) -> list[BatchTask]:
        batch = self._batches.popleft()
        if not self._batches:
            self._batches.append(_Batch())
        return batch.tasks

    def _pieces(self, task: BatchTask) -> list[int]:
        """Rows of the tasks into which one is split; refuses what does not fit."""
        options, open_batch = self._options, self._batches[-1]
        if task.rows > options.max_batch_size:
            raise errors.task_too_large(task.rows, options.max_batch_size)
        same_kind = not open_batch.tasks or open_batch.tasks[0].kind == task.kind
        left = options.largest_run - open_batch.rows if same_kind else 0
        more_batches = options.max_enqueued_batches - len(self._batches)
        if task.rows <= left:
            return [task.rows]
        if not options.enable_large_batch_splitting:
            if more_batches < 1:
                raise errors.queue_full(
                    len(self._batches), options.max_enqueued_batches
                )
            return [task.rows]
        if task.rows > left + more_batches * options.largest_run:
            raise errors.queue_full(len(self._batches), options.max_enqueued_batches)
        pieces = [left] if left else []
        while sum(pieces) < task.rows:
            pieces.append(min(options.largest_run, task.rows - sum(pieces)))
        return pieces


class BatchScheduler:
    """Threads that run the batches of several queues.

    Args:
        num_threads: Batches that run at once.
        name: The threads'.
    """

    def __init__(self, num_threads: int, name: str = "batch"):
        self._changed = threading.Condition()
        self._queues: list[BatchQueue] = []
        self._turn = 0
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{i}", daemon=True)
            for i in range(num_threads)
        ]
        for thread in self._threads:
            thread.start()

    def add_queue(
        self, options: BatchingOptions, process: Callable[[list[BatchTask]], None]
    ) -> BatchQueue:
        """A new queue.

        Args:
            options: Its sizes and times.
            process: Runs the tasks of a batch and sets their results.
        """
        with self._changed:
            queue = BatchQueue(options, process, self._changed)
            queue.closed = self._closed
            self._queues.append(queue)
            return queue

    def remove_queue(self, queue: BatchQueue) -> None:
        """Takes no more tasks for it. Those that wait still run."""
        with self._changed:
            queue.closed = True
            if queue.wait(0) > 0:
                self._queues.remove(queue)
            self._changed.notify_all()

    def close(self) -> None:
        """Runs what waits, and ends the threads."""
        with self._changed:
            self._closed = True
            for queue in self._queues:
                queue.closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            process, tasks = batch
            try:
                process(tasks)
            except Exception as error:
                _logger.exception("A batch failed")
                for task in tasks:
                    if not task.result.done():
                        task.result.set_exception(error)

    def _next_batch(self) -> tuple[Callable, list[BatchTask]] | None:
        with self._changed:
            while True:
                now = time.monotonic()
                turns = self._queues[self._turn :] + self._queues[: self._turn]
                for step, queue in enumerate(turns, start=1):
                    if queue.ready(now):
                        self._turn = (self._turn + step) % len(self._queues)
                        tasks = queue.take()
                        self._forget_ended()
                        return queue.process, tasks
                if self._closed:
                    return None
                wait = min((queue.wait(now) for queue in turns), default=float("inf"))
                self._changed.wait(None if wait == float("inf") else wait)

    def _forget_ended(self) -> None:
        if self._closed:
            return
        self._queues = [
            queue for queue in self._queues if not (queue.closed and queue.wait(0) > 0)
        ]
        self._turn = self._turn % max(1, len(self._queues))
