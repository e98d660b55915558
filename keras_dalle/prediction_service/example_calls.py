"""Refusals of Classify, Regress and MultiInference.

They take `tf.Example`s, and the models here have signatures for Predict alone. The
codes and texts are those of the stock server for such models.
"""

from typing import NoReturn

import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis import inference_pb2, model_pb2

from keras_dalle.prediction_service import errors
from keras_dalle.prediction_service.predict import signature_name_of
from keras_dalle.prediction_service.servables import Servable

CLASSIFY = tf.saved_model.CLASSIFY_METHOD_NAME
REGRESS = tf.saved_model.REGRESS_METHOD_NAME
# method -> its name in the texts, and the number of outputs of its signatures
_KINDS: dict[str, tuple[str, tuple[int, ...], str]] = {
    CLASSIFY: ("classification", (1, 2), "one or two output Tensors, found {}"),
    REGRESS: ("regression", (1,), "one output Tensor."),
}


def refuse_examples(
    servable: Servable, spec: model_pb2.ModelSpec, method: str
) -> NoReturn:
    """Refuses a Classify or a Regress request.

    Args:
        servable: The model that `spec` resolved to.
        spec: The request's ModelSpec.
        method: `CLASSIFY` or `REGRESS`.

    Raises:
        ServingError: Always.
    """
    name = signature_name_of(spec)
    if name not in servable.session.signatures:
        raise errors.unknown_signature_name(name)
    _refuse(servable, servable.session.signatures[name], method)


def refuse_multi_inference(
    servable: Servable, request: inference_pb2.MultiInferenceRequest
) -> NoReturn:
    """Refuses a MultiInference request because of its first task.

    Raises:
        ServingError: Always.
    """
    if not request.tasks:
        raise errors.missing_model_name()
    task = request.tasks[0]
    name = signature_name_of(task.model_spec)
    if name not in servable.session.signatures:
        raise errors.unknown_task_signature(name)
    if task.method_name not in _KINDS:
        raise errors.unsupported_method(task.method_name)
    _refuse(servable, servable.session.signatures[name], task.method_name)


def _refuse(servable: Servable, signature: SignatureDef, method: str) -> NoReturn:
    kind, outputs, expected = _KINDS[method]
    if servable.checks_method_names:
        raise errors.not_for_examples(kind, method, signature.method_name)
    if len(signature.inputs) != 1:
        raise errors.invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) not in outputs:
        raise errors.invalid_argument(
            f"Expected {expected.format(len(signature.outputs))}"
        )
    raise errors.invalid_argument(
        f"No {kind} inputs found in SignatureDef: {signature}"
    )
