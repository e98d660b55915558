"""The Predict call: from request protos through the session to response protos."""

import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import model_pb2, predict_pb2

from keras_dalle.prediction_service import errors, metrics
from keras_dalle.prediction_service.servables import Servable
from keras_dalle.prediction_service.tensors import (
    TensorReader,
    TooLarge,
    dtype_name,
    fill_tensor,
    is_dtype,
)

# Those of the signatures that Predict takes where the method's name is checked.
METHOD_NAMES = (
    tf.saved_model.PREDICT_METHOD_NAME,
    tf.saved_model.CLASSIFY_METHOD_NAME,
    tf.saved_model.REGRESS_METHOD_NAME,
)


def predict(
    servable: Servable,
    request: predict_pb2.PredictRequest,
    timeout_ms: int = 0,
    as_content: bool = False,
) -> predict_pb2.PredictResponse:
    """Answers a Predict request, checking it in the order of the stock server.

    Args:
        servable: The model that the request's spec resolved to.
        request: The request; an empty signature name means `serving_default`.
        timeout_ms: Milliseconds until the caller's deadline; 0 for none.
        as_content: Answer with packed bytes in place of lists of values.

    Raises:
        ServingError: With the stock server's code and text.
    """
    outputs = predict_arrays(servable, request, timeout_ms)
    response = predict_pb2.PredictResponse()
    response.model_spec.name = request.model_spec.name
    response.model_spec.signature_name = signature_name_of(request.model_spec)
    response.model_spec.version.value = servable.version
    for alias, array in outputs.items():
        fill_tensor(response.outputs[alias], array, as_content)
    return response


def predict_arrays(
    servable: Servable, request: predict_pb2.PredictRequest, timeout_ms: int = 0
) -> dict[str, np.ndarray]:
    """The outputs of a Predict request by alias.

    Raises:
        ServingError: As `predict`.
    """
    signature_name = signature_name_of(request.model_spec)
    if signature_name not in servable.session.signatures:
        raise errors.unknown_signature(signature_name)
    signature = servable.session.signatures[signature_name]
    if servable.checks_method_names and signature.method_name not in METHOD_NAMES:
        raise errors.not_for_predict(METHOD_NAMES, signature.method_name)
    feeds = _feeds(signature, request.inputs)
    aliases = _output_aliases(signature, request.output_filter)
    _check_dtypes(signature, request.inputs)
    fetches = [signature.outputs[alias].name for alias in aliases]
    arrays = run_session(servable, feeds, fetches, "Predict", timeout_ms)
    return dict(zip(aliases, arrays, strict=True))


def signature_name_of(spec: model_pb2.ModelSpec) -> str:
    return spec.signature_name or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY


def run_session(
    servable: Servable,
    feeds: Mapping[str, np.ndarray],
    fetches: Sequence[str],
    api: str,
    timeout_ms: int,
) -> list[np.ndarray]:
    """Runs a servable for a call of `api`, such as "Predict", and counts the time.

    Raises:
        ServingError: With the session's own code and text.
    """
    start = time.perf_counter()
    try:
        arrays = servable.session.run(feeds, fetches, timeout_ms)
    except tf.errors.OpError as error:
        raise errors.from_tensorflow(error) from error
    microseconds = (time.perf_counter() - start) * 1e6
    metrics.RUNTIME_LATENCY.observe(microseconds, servable.name, api, "TF1")
    return arrays


def _feeds(
    signature: meta_graph_pb2.SignatureDef, inputs: Mapping
) -> dict[str, np.ndarray]:
    """Returns inputs by tensor name, without those of a wrong dtype."""
    expected, defaults = signature.inputs, signature.defaults
    if len(inputs) > len(expected) or (len(inputs) < len(expected) and not defaults):
        raise errors.wrong_input_count(inputs, expected)
    reader = TensorReader()
    feeds = {}
    for alias, info in expected.items():
        if alias not in inputs and alias not in defaults:
            raise errors.missing_input(alias, info.name, inputs, defaults)
        proto = inputs[alias] if alias in inputs else defaults[alias]
        # Parsing a value that the model does not accept could only do harm.
        if proto.dtype != info.dtype and is_dtype(proto.dtype):
            continue
        try:
            feeds[info.name] = reader.parse(proto)
        except TooLarge as error:
            raise errors.too_large(alias) from error
        except ValueError as error:
            raise errors.tensor_parsing_error(alias) from error
    if any(alias not in expected for alias in inputs):
        used = [alias for alias in inputs if alias in expected]
        raise errors.unknown_input(used, inputs)
    return feeds


def _check_dtypes(signature: meta_graph_pb2.SignatureDef, inputs: Mapping) -> None:
    """Raises the session's error for a wrong dtype. It numbers arguments by name."""
    arguments = sorted(signature.inputs.items(), key=lambda item: item[1].name)
    for number, (alias, info) in enumerate(arguments):
        proto = inputs[alias] if alias in inputs else signature.defaults[alias]
        if proto.dtype != info.dtype:
            raise errors.wrong_dtype(
                number, dtype_name(info.dtype), dtype_name(proto.dtype)
            )


def _output_aliases(
    signature: meta_graph_pb2.SignatureDef, output_filter: Iterable[str]
) -> list[str]:
    # One by one, since a message can hold millions.
    aliases: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise errors.unknown_output(alias, signature.outputs)
        if alias in aliases:
            raise errors.duplicate_output(alias)
        aliases.append(alias)
    return aliases or list(signature.outputs)
