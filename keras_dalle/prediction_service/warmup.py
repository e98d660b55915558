"""Warm-up: requests that a version brings along and runs before it is published."""

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from keras_dalle.prediction_service import errors
from keras_dalle.prediction_service.example_calls import (
    CLASSIFY,
    REGRESS,
    refuse_examples,
    refuse_multi_inference,
)
from keras_dalle.prediction_service.predict import predict
from keras_dalle.prediction_service.servables import Servable
from keras_dalle.saved_model.warmup import MAX_RECORDS, WARMUP_FILE

_METHODS: dict[str, Callable] = {
    "predict_log": predict,
    "classify_log": lambda servable, request: refuse_examples(
        servable, request.model_spec, CLASSIFY
    ),
    "regress_log": lambda servable, request: refuse_examples(
        servable, request.model_spec, REGRESS
    ),
    "multi_inference_log": refuse_multi_inference,
}


def warm_up(servable: Servable, path: Path, times: int = 1) -> None:
    """Runs the requests in a version's folder, if it has any.

    Args:
        servable: The version.
        path: Its folder.
        times: How often each.

    Raises:
        ServingError: One fails, or there are too many.
    """
    file = path / WARMUP_FILE
    if times == 0 or not file.is_file():
        return
    try:
        for number, record in enumerate(tf.data.TFRecordDataset(str(file))):
            if number == MAX_RECORDS:
                raise errors.too_many_warmup_records(MAX_RECORDS, str(file))
            _replay(servable, record.numpy(), times)
    except tf.errors.OpError as error:
        raise errors.from_tensorflow(error) from error


def _replay(servable: Servable, record: bytes, times: int) -> None:
    try:
        log = prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError as error:
        raise errors.bad_warmup_record(str(error)) from error
    kind = log.WhichOneof("log_type")
    if kind not in _METHODS:
        raise errors.unsupported_warmup(kind)
    for _ in range(times):
        _METHODS[kind](servable, getattr(log, kind).request)
