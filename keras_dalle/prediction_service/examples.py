"""Classify, Regress and MultiInference: requests of serialized `tf.Example`s."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    model_pb2,
    regression_pb2,
)

from keras_dalle.prediction_service import errors
from keras_dalle.prediction_service.predict import run_session, signature_name_of
from keras_dalle.prediction_service.servables import Servable

CLASSIFY = tf.saved_model.CLASSIFY_METHOD_NAME
REGRESS = tf.saved_model.REGRESS_METHOD_NAME
INPUTS = tf.saved_model.CLASSIFY_INPUTS  # "inputs", and the same for regression
CLASSES = tf.saved_model.CLASSIFY_OUTPUT_CLASSES
SCORES = tf.saved_model.CLASSIFY_OUTPUT_SCORES
OUTPUTS = tf.saved_model.REGRESS_OUTPUTS

# The tensor of examples and those to fetch, of a signature.
_Tensors = tuple[str, list[str]]


def classify(
    servable: Servable,
    request: classification_pb2.ClassificationRequest,
    timeout_ms: int = 0,
) -> classification_pb2.ClassificationResponse:
    """Answers a Classify request.

    Raises:
        ServingError: With the stock server's code and text.
    """
    response = classification_pb2.ClassificationResponse()
    result = _run_one(servable, request, "Classify", CLASSIFY, timeout_ms)
    response.result.CopyFrom(result)
    _fill_spec(response.model_spec, request.model_spec, servable)
    return response


def regress(
    servable: Servable, request: regression_pb2.RegressionRequest, timeout_ms: int = 0
) -> regression_pb2.RegressionResponse:
    """Answers a Regress request.

    Raises:
        ServingError: With the stock server's code and text.
    """
    response = regression_pb2.RegressionResponse()
    result = _run_one(servable, request, "Regress", REGRESS, timeout_ms)
    response.result.CopyFrom(result)
    _fill_spec(response.model_spec, request.model_spec, servable)
    return response


def _run_one(
    servable: Servable,
    request: Any,
    api: str,
    method: str,
    timeout_ms: int,
) -> Any:
    tensors_of, read, _ = _TASKS[method]
    name = signature_name_of(request.model_spec)
    if name not in servable.session.signatures:
        raise errors.unknown_signature_name(name)
    signature = servable.session.signatures[name]
    _check_method(servable, signature, method)
    feed, fetches = tensors_of(signature)
    examples = serialized_examples(request.input)
    arrays = run_session(servable, {feed: examples}, fetches, api, timeout_ms)
    return read(signature, dict(zip(fetches, arrays, strict=True)), len(examples))


def _check_method(servable: Servable, signature: SignatureDef, method: str) -> None:
    if servable.checks_method_names and signature.method_name != method:
        kind = "classification" if method == CLASSIFY else "regression"
        raise errors.not_for_examples(kind, method, signature.method_name)


def serialized_examples(examples: input_pb2.Input) -> np.ndarray:
    """The examples of a request as strings [B], each after their common context.

    Raises:
        ServingError: There are none.
    """
    kind = examples.WhichOneof("kind")
    if kind is None or not getattr(examples, kind).examples:
        raise errors.empty_input()
    listed = getattr(examples, kind)
    context = (
        listed.context.SerializeToString()
        if kind == "example_list_with_context"
        else b""
    )
    texts = [context + example.SerializeToString() for example in listed.examples]
    return np.array(texts, object)


def classification_tensors(signature: SignatureDef) -> _Tensors:
    """What to feed and fetch for a classification; refuses other signatures."""
    if len(signature.outputs) not in (1, 2):
        _one_input(signature, "classification")
        raise errors.invalid_argument(
            f"Expected one or two output Tensors, found {len(signature.outputs)}"
        )
    feed = _one_input(signature, "classification")
    fetches = [
        signature.outputs[alias].name
        for alias in (CLASSES, SCORES)
        if alias in signature.outputs
    ]
    if not fetches:
        raise errors.invalid_argument(
            "Expected classification signature outputs to contain at least one of "
            f'"{CLASSES}" or "{SCORES}". Signature was: {signature}'
        )
    return feed, fetches


def regression_tensors(signature: SignatureDef) -> _Tensors:
    """What to feed and fetch for a regression; refuses other signatures."""
    if len(signature.inputs) == 1 and len(signature.outputs) != 1:
        raise errors.invalid_argument("Expected one output Tensor.")
    feed = _one_input(signature, "regression")
    if OUTPUTS not in signature.outputs:
        raise errors.invalid_argument(
            f"No regression outputs found in SignatureDef: {signature}"
        )
    return feed, [signature.outputs[OUTPUTS].name]


def _one_input(signature: SignatureDef, kind: str) -> str:
    if len(signature.inputs) != 1:
        raise errors.invalid_argument("Expected one input Tensor.")
    if INPUTS not in signature.inputs:
        raise errors.invalid_argument(
            f"No {kind} inputs found in SignatureDef: {signature}"
        )
    return signature.inputs[INPUTS].name


def _classified(
    signature: SignatureDef, arrays: dict[str, np.ndarray], rows: int
) -> classification_pb2.ClassificationResult:
    """The result of [B, classes] labels, scores, or both."""
    columns = {}
    for alias, dtype in ((CLASSES, tf.string), (SCORES, tf.float32)):
        if alias in signature.outputs:
            array = np.asarray(arrays[signature.outputs[alias].name])
            _check_classes(alias, array, dtype, rows)
            columns[alias] = array
    widths = [array.shape[1] for array in columns.values()]
    if len(set(widths)) > 1:
        raise errors.invalid_argument(
            "Tensors class and score should match in dim_size(1). "
            f"Got {widths[0]} vs. {widths[1]}"
        )
    result = classification_pb2.ClassificationResult()
    for row in range(rows):
        classifications = result.classifications.add()
        for column in range(widths[0]):
            entry = classifications.classes.add()
            if CLASSES in columns:
                label = columns[CLASSES][row, column]
                entry.label = label.decode("utf-8", "replace")
            if SCORES in columns:
                entry.score = columns[SCORES][row, column]
    return result


def _check_classes(alias: str, array: np.ndarray, dtype: Any, rows: int) -> None:
    if array.ndim != 2:
        raise errors.invalid_argument(
            "Expected Tensor shape: [batch_size num_classes] but got "
            f"{list(array.shape)}"
        )
    if tf.as_dtype(array.dtype) != dtype:
        raise errors.invalid_argument(
            f"Expected {alias} Tensor of {dtype.name}. "
            f"Got: {tf.as_dtype(array.dtype).name}"
        )
    if array.shape[0] != rows:
        raise errors.invalid_argument(
            f"Expected {alias} output batch size of {rows}. Got: {array.shape[0]}"
        )


def _regressed(
    signature: SignatureDef, arrays: dict[str, np.ndarray], rows: int
) -> regression_pb2.RegressionResult:
    """The result of values [B] or [B, 1]."""
    array = np.asarray(arrays[signature.outputs[OUTPUTS].name])
    if array.ndim != 1 and not (array.ndim == 2 and array.shape[1] == 1):
        raise errors.invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or "
            f"[batch_size, 1] but got {list(array.shape)}"
        )
    if array.shape[0] != rows:
        raise errors.invalid_argument(
            "Input batch size did not match output batch size: "
            f"{rows} vs. {array.shape[0]}"
        )
    if array.dtype != np.float32:
        raise errors.invalid_argument(
            f"Expected output Tensor of DT_FLOAT.  Got: {tf.as_dtype(array.dtype).name}"
        )
    result = regression_pb2.RegressionResult()
    for value in array.ravel():
        result.regressions.add(value=value)
    return result


def _fill_spec(
    spec: model_pb2.ModelSpec, asked: model_pb2.ModelSpec, servable: Servable
) -> None:
    spec.name = asked.name
    spec.signature_name = signature_name_of(asked)
    spec.version.value = servable.version


# method_name -> which tensors, how to read them, where the result goes
_TASKS: dict[str, tuple[Callable, Callable, str]] = {
    CLASSIFY: (
        classification_tensors,
        _classified,
        "classification_result",
    ),
    REGRESS: (
        regression_tensors,
        _regressed,
        "regression_result",
    ),
}


def multi_inference(
    servable: Servable,
    request: inference_pb2.MultiInferenceRequest,
    timeout_ms: int = 0,
) -> inference_pb2.MultiInferenceResponse:
    """Answers a MultiInference request: several signatures by one run.

    Raises:
        ServingError: With the stock server's code and text.
    """
    signatures = _task_signatures(servable, request)
    feeds, fetches = {}, []
    for task, signature in zip(request.tasks, signatures, strict=True):
        if task.method_name not in _TASKS:
            raise errors.unsupported_method(task.method_name)
        _check_method(servable, signature, task.method_name)
        feed, names = _TASKS[task.method_name][0](signature)
        feeds[feed] = True
        fetches += [name for name in names if name not in fetches]
    examples = serialized_examples(request.input)
    arrays = run_session(
        servable,
        dict.fromkeys(feeds, examples),
        fetches,
        "MultiInference",
        timeout_ms,
    )
    by_name = dict(zip(fetches, arrays, strict=True))
    response = inference_pb2.MultiInferenceResponse()
    for task, signature in zip(request.tasks, signatures, strict=True):
        _, read, field = _TASKS[task.method_name]
        result = response.results.add()
        getattr(result, field).CopyFrom(read(signature, by_name, len(examples)))
        _fill_spec(result.model_spec, task.model_spec, servable)
    return response


def _task_signatures(
    servable: Servable, request: inference_pb2.MultiInferenceRequest
) -> list[SignatureDef]:
    names: list[str] = []
    for task in request.tasks:
        if not task.model_spec.name:
            raise errors.empty_task_model_name()
        if task.model_spec.name != request.tasks[0].model_spec.name:
            raise errors.different_task_models()
        name = signature_name_of(task.model_spec)
        if name in names:
            raise errors.duplicate_task_signature(name)
        if name not in servable.session.signatures:
            raise errors.unknown_task_signature(name)
        names.append(name)
    return [servable.session.signatures[name] for name in names]
