"""`tf.Example`s in the JSON of the REST API: classify and regress."""

from collections.abc import Mapping
from typing import Any

from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow_serving.apis import classification_pb2, input_pb2, regression_pb2

from keras_dalle.prediction_service.errors import ServingError, invalid_argument
from keras_dalle.prediction_service.json_answers import float32, to_bytes
from keras_dalle.prediction_service.json_tensors import (
    is_base64,
    shown,
    string_of_json,
    type_name,
)

_EXAMPLES, _CONTEXT = "examples", "context"
_INT64 = range(-(2**63), 2**63)


def fill_examples(document: Mapping[str, Any], examples: input_pb2.Input) -> None:
    """Puts the examples of a body into a request.

    Raises:
        ServingError: They are missing, or have values that a feature cannot hold.
    """
    listed = examples.example_list
    if _CONTEXT in document:
        listed = examples.example_list_with_context
        _fill_example(document[_CONTEXT], listed.context)
    if _EXAMPLES not in document:
        raise invalid_argument(
            f"JSON Value: {shown(document)} When method is classify, key 'examples' is "
            "expected and was not found"
        )
    rows = document[_EXAMPLES]
    if not isinstance(rows, list):
        raise invalid_argument(
            f"JSON Value: {shown(document)} Expecting 'examples' value to be an "
            "list/array"
        )
    if not rows:
        raise invalid_argument(
            f"JSON Value: {shown(document)} 'examples' value is an empty array"
        )
    for row in rows:
        _fill_example(row, listed.examples.add())


def _fill_example(value: Any, example: example_pb2.Example) -> None:
    if not isinstance(value, dict):
        raise invalid_argument(
            f"Example must be JSON object but got JSON {type_name(value)}"
        )
    for name, content in value.items():
        feature = example.features.feature[name]
        for item in content if isinstance(content, list) else [content]:
            _add(item, name, feature)


def _add(value: Any, name: str, feature: feature_pb2.Feature) -> None:
    if isinstance(value, str) or is_base64(value):
        _values(feature, "bytes_list", name).append(string_of_json(value))
    elif isinstance(value, int):
        if value not in _INT64:
            raise invalid_argument(
                f"Feature: {name} has uint64_t element. Only int64_t is supported."
            )
        _values(feature, "int64_list", name).append(int(value))
    elif isinstance(value, float):
        _values(feature, "float_list", name).append(value)
    else:
        raise invalid_argument(
            f"Feature: {name} has element with unexpected JSON type: {type_name(value)}"
        )


def _values(feature: feature_pb2.Feature, kind: str, name: str) -> Any:
    if feature.WhichOneof("kind") not in (None, kind):
        present = feature.WhichOneof("kind").removesuffix("_list")
        raise invalid_argument(
            f"Unexpected element type in feature: {name} expecting type: {present}"
        )
    return getattr(feature, kind).value


def classification_answer(
    response: classification_pb2.ClassificationResponse,
) -> bytes:
    """The body of an answer to classify: [label, score] by class and row."""
    rows = [
        [[entry.label, float32(entry.score)] for entry in row.classes]
        for row in response.result.classifications
    ]
    return _results(rows, "Classification")


def regression_answer(response: regression_pb2.RegressionResponse) -> bytes:
    """The body of an answer to regress: a value by row."""
    rows = [float32(row.value) for row in response.result.regressions]
    return _results(rows, "Regression")


def _results(rows: list, kind: str) -> bytes:
    if not rows:
        raise _empty(kind)
    return to_bytes({"results": rows})


def _empty(kind: str) -> ServingError:
    return invalid_argument(f"Cannot convert empty {kind}Results to JSON")
