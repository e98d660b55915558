"""Warm-up records: requests that a server runs on a version before it answers others.

A TFRecord file of PredictionLog protos at the place where the stock server reads it.
"""

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from keras_dalle.saved_model.graph import read_meta_graph, signatures_of
from keras_dalle.saved_model.sample_rows import sample_rows
from keras_dalle.saved_model.signatures.row_function import MAX_ROWS

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
# A file with more is refused by the stock server, and with it the version.
MAX_RECORDS = 1000
DEFAULT_BATCH_SIZES = (1,)


def check_batch_sizes(batch_sizes: Sequence[int]) -> None:
    """Raises ValueError if one is below 1 or above `MAX_ROWS`."""
    if not all(1 <= size <= MAX_ROWS for size in batch_sizes):
        raise ValueError(
            f"A warm-up batch size must be at least 1 and at most {MAX_ROWS}, the rows "
            f"of a call. Received: {list(batch_sizes)}. Choose others."
        )


def write_warmup_records(path: Path, batch_sizes: Sequence[int]) -> int:
    """Writes a request for each signature and batch size of the version in `path`.

    Args:
        path: The version's folder.
        batch_sizes: From 1 to `MAX_ROWS`. If there are none, no file is written.

    Returns:
        The number of records.

    Raises:
        ValueError: A size is out of its range, or there are more records than a server
            reads.
    """
    check_batch_sizes(batch_sizes)
    sizes = sorted(set(batch_sizes))
    signatures = signatures_of(read_meta_graph(path))
    count = len(signatures) * len(sizes)
    if count > MAX_RECORDS:
        raise ValueError(
            f"There must be at most {MAX_RECORDS} warm-up records, one for each "
            f"signature and batch size. Received: {count}. Choose fewer sizes."
        )
    if not count:
        return 0
    (path / WARMUP_FILE).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path / WARMUP_FILE)) as writer:
        for size in sizes:
            for name in signatures:
                log = _predict_log(name, sample_rows(name, signatures, size))
                writer.write(log.SerializeToString())
    return count


def _predict_log(signature_name, rows) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = "dalle"
    request.model_spec.signature_name = signature_name
    for alias, values in rows.items():
        request.inputs[alias].CopyFrom(tf.make_tensor_proto(values))
    return log
