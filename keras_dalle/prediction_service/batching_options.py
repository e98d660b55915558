"""How to batch: the stock server's `--batching_parameters_file`. Free of TensorFlow."""

import dataclasses
import os
from typing import Any

# Fields whose values are in wrapper messages, so that "not set" is not 0.
_WRAPPED = (
    "max_batch_size",
    "batch_timeout_micros",
    "max_enqueued_batches",
    "num_batch_threads",
    "thread_pool_name",
    "enable_large_batch_splitting",
    "max_execution_batch_size",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchingOptions:
    """BatchingParameters with the stock server's defaults.

    Args:
        max_batch_size: Rows of a batch at most, and of a request.
        batch_timeout_micros: How long a batch that is not full waits for more.
        max_enqueued_batches: Batches that wait at most; what comes then is refused.
        num_batch_threads: Batches that run at once.
        thread_pool_name: In the metrics.
        allowed_batch_sizes: Smaller batches are padded to one of these.
        enable_large_batch_splitting: A request may be larger than a batch that runs.
        max_execution_batch_size: Rows of a batch that runs, with splitting.
        pad_variable_length_inputs: Bring inputs that differ in their other dimensions
            to the largest, with copies of each one's first element.

    Raises:
        ValueError: A value is out of its range, or they contradict each other.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    thread_pool_name: str = "model_server_batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None
    pad_variable_length_inputs: bool = False

    def __post_init__(self) -> None:
        for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive; was {getattr(self, name)}")
        if self.batch_timeout_micros < 0:
            raise ValueError(
                "batch_timeout_micros must be non-negative; was "
                f"{self.batch_timeout_micros}"
            )
        if self.allowed_batch_sizes and (
            list(self.allowed_batch_sizes) != sorted(set(self.allowed_batch_sizes))
            or self.allowed_batch_sizes[0] < 1
        ):
            raise ValueError(
                "allowed_batch_sizes must be positive and increase; were "
                f"{list(self.allowed_batch_sizes)}"
            )
        if self.allowed_batch_sizes and (
            self.allowed_batch_sizes[-1] != self.max_batch_size
        ):
            raise ValueError(
                "Last entry in allowed_batch_sizes must match max_batch_size; last "
                f"entry was {self.allowed_batch_sizes[-1]}; expected "
                f"{self.max_batch_size}"
            )
        if not 1 <= self.largest_run <= self.max_batch_size:
            raise ValueError(
                "max_execution_batch_size must be from 1 to max_batch_size "
                f"({self.max_batch_size}); was {self.max_execution_batch_size}"
            )

    @property
    def largest_run(self) -> int:
        """Rows of a batch that runs, at most."""
        if not self.enable_large_batch_splitting:
            return self.max_batch_size
        return self.max_execution_batch_size or self.max_batch_size

    def padded(self, rows: int) -> int:
        """The rows to which a batch is padded."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def batching_options(parameters: Any) -> BatchingOptions:
    """The options of a BatchingParameters message.

    Raises:
        ValueError: One is refused.
    """
    given = {
        name: getattr(parameters, name).value
        for name in _WRAPPED
        if parameters.HasField(name)
    }
    return BatchingOptions(
        **given,
        allowed_batch_sizes=tuple(parameters.allowed_batch_sizes),
        pad_variable_length_inputs=parameters.pad_variable_length_inputs,
    )
