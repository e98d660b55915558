"""The codes and texts with which TensorFlow Serving 2.20 refuses a request.

One function a refusal, so that the table can be read from top to bottom. The texts
are the stock server's, from its sources; clients match on them.
"""

from collections.abc import Iterable

import grpc
import tensorflow as tf

MAX_MESSAGE_LENGTH = 1024
_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


class ServingError(RuntimeError):
    """A refusal: a gRPC status code and the text that goes with it."""

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


def truncated(message: str) -> str:
    """The message as it goes over the wire."""
    if len(message) <= MAX_MESSAGE_LENGTH:
        return message
    return message[:MAX_MESSAGE_LENGTH] + "...TRUNCATED"


def from_tensorflow(error: tf.errors.OpError) -> ServingError:
    """TensorFlow's codes are gRPC's, number for number."""
    return ServingError(_STATUS_CODES[error.error_code], error.message)


def missing_model_spec() -> ServingError:
    return _invalid_argument("Missing ModelSpec")


def missing_model_name() -> ServingError:
    return _invalid_argument("ModelSpec has no name specified.")


def servable_not_found(model_name: str, version: int | None) -> ServingError:
    wanted = (
        f"Latest({model_name})"
        if version is None
        else f"Specific({model_name}, {version})"
    )
    return _not_found(f"Servable not found for request: {wanted}")


def unknown_label(label: str) -> ServingError:
    return _invalid_argument(f"Unrecognized servable version label: {label}")


def unknown_signature(name: str) -> ServingError:
    return ServingError(
        grpc.StatusCode.FAILED_PRECONDITION,
        f'Serving signature key "{name}" not found.',
    )


def wrong_input_count(sent: Iterable[str], expected: Iterable[str]) -> ServingError:
    sent, expected = set(sent), set(expected)
    return _invalid_argument(
        f"input size does not match signature: {len(sent)}!={len(expected)} "
        f"len({{{_joined(sent)}}}) != len({{{_joined(expected)}}}). "
        f"Sent extra: {{{_joined(sent - expected)}}}. "
        f"Missing but required: {{{_joined(expected - sent)}}}."
    )


def missing_input(
    alias: str, feed_name: str, sent: Iterable[str], defaults: Iterable[str]
) -> ServingError:
    return _invalid_argument(
        f"Signature input alias: {alias}(feed name: {feed_name}) not found in request "
        "and no default value provided. Inputs expected to be in the request "
        f"{{{_joined(sent)}}}, or default input alias set: {_joined(defaults)}"
    )


def unknown_input(used: Iterable[str], sent: Iterable[str]) -> ServingError:
    return _invalid_argument(
        f"Inputs contains invalid name. Used request inputs: {_joined(used)}, "
        f"request input: {_joined(sent)}"
    )


def tensor_parsing_error(alias: str) -> ServingError:
    return _invalid_argument(f"tensor parsing error: {alias}")


def unknown_output(alias: str, expected: Iterable[str]) -> ServingError:
    return _invalid_argument(
        f"output tensor alias not found in signature: {alias} "
        f"Outputs expected to be in the set {{{_joined(expected)}}}."
    )


def duplicate_output(alias: str) -> ServingError:
    return _invalid_argument(f"duplicate output tensor alias: {alias}")


def deadline_exceeded() -> ServingError:
    return ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")


def no_versions(model_name: str) -> ServingError:
    return _not_found(f"Could not find any versions of model {model_name}")


def no_such_version(model_name: str, version: int) -> ServingError:
    return _not_found(f"Could not find version {version} of model {model_name}")


def no_metadata_field() -> ServingError:
    return _invalid_argument(
        "GetModelMetadataRequest must specify at least one metadata_field"
    )


def unknown_metadata_field(field: str) -> ServingError:
    return _invalid_argument(f"Metadata field {field} is not supported")


def missing_base_path(base_path: str, model_name: str, reason: str) -> ServingError:
    return _invalid_argument(
        f"Could not find base path {base_path} for servable {model_name} "
        f"with error {reason}"
    )


def empty_base_path(base_path: str, model_name: str) -> ServingError:
    return _not_found(
        f"No versions of servable {model_name} found under base path {base_path}. "
        "Did you forget to name your leaf directory as a number (eg. '/1/')?"
    )


def unreadable_version(path: str, reason: str) -> ServingError:
    return ServingError(
        grpc.StatusCode.UNAVAILABLE, f"Could not load the model in {path}: {reason}"
    )


def _invalid_argument(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def _not_found(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.NOT_FOUND, message)


def _joined(names: Iterable[str]) -> str:
    return ",".join(sorted(names))
