"""The codes and texts with which TensorFlow Serving 2.20 refuses a request.

One function a refusal, so that the table can be read from top to bottom. The texts
are the stock server's, from its sources; clients match on them.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence

import grpc
import tensorflow as tf

from keras_dalle.prediction_service.tensors import MAX_EXTRA_BYTES, STRING_BYTES

MAX_MESSAGE_LENGTH = 1024
# All that a caller learns of a bug.
BUG = "Internal error"
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
    return invalid_argument("Missing ModelSpec")


def missing_model_name() -> ServingError:
    return invalid_argument("ModelSpec has no name specified.")


def servable_not_found(model_name: str, version: int | None) -> ServingError:
    wanted = (
        f"Latest({model_name})"
        if version is None
        else f"Specific({model_name}, {version})"
    )
    return _not_found(f"Servable not found for request: {wanted}")


def unknown_label(label: str) -> ServingError:
    return invalid_argument(f"Unrecognized servable version label: {label}")


def unknown_signature(name: str) -> ServingError:
    return ServingError(
        grpc.StatusCode.FAILED_PRECONDITION,
        f'Serving signature key "{name}" not found.',
    )


def wrong_input_count(
    sent: Mapping[str, object], expected: Mapping[str, object]
) -> ServingError:
    extra = (name for name in sent if name not in expected)
    missing = (name for name in expected if name not in sent)
    return invalid_argument(
        f"input size does not match signature: {len(sent)}!={len(expected)} "
        f"len({{{_joined(sent)}}}) != len({{{_joined(expected)}}}). "
        f"Sent extra: {{{_joined(extra)}}}. "
        f"Missing but required: {{{_joined(missing)}}}."
    )


def missing_input(
    alias: str, feed_name: str, sent: Iterable[str], defaults: Iterable[str]
) -> ServingError:
    return invalid_argument(
        f"Signature input alias: {alias}(feed name: {feed_name}) not found in request "
        "and no default value provided. Inputs expected to be in the request "
        f"{{{_joined(sent)}}}, or default input alias set: {_joined(defaults)}"
    )


def unknown_input(used: Iterable[str], sent: Iterable[str]) -> ServingError:
    return invalid_argument(
        f"Inputs contains invalid name. Used request inputs: {_joined(used)}, "
        f"request input: {_joined(sent)}"
    )


def tensor_parsing_error(alias: str) -> ServingError:
    return invalid_argument(f"tensor parsing error: {alias}")


def too_large(alias: str) -> ServingError:
    """Refuses tensors that are too large. The stock server has no such limit."""
    return invalid_argument(
        f"tensor parsing error: {alias}: The inputs of a call may take "
        f"{MAX_EXTRA_BYTES >> 20} MB more than was sent for them: {STRING_BYTES} bytes "
        "for each string, and all values that are repeated instead of listed. Send "
        "fewer of them in a call."
    )


def wrong_dtype(number: int, expected: str, received: str) -> ServingError:
    return invalid_argument(
        f"Expects arg[{number}] to be {expected} but {received} is provided"
    )


def unknown_output(alias: str, expected: Iterable[str]) -> ServingError:
    return invalid_argument(
        f"output tensor alias not found in signature: {alias} "
        f"Outputs expected to be in the set {{{_joined(expected)}}}."
    )


def duplicate_output(alias: str) -> ServingError:
    return invalid_argument(f"duplicate output tensor alias: {alias}")


def deadline_exceeded() -> ServingError:
    return ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")


def no_versions(model_name: str) -> ServingError:
    return _not_found(f"Could not find any versions of model {model_name}")


def no_such_version(model_name: str, version: int) -> ServingError:
    return _not_found(f"Could not find version {version} of model {model_name}")


def no_metadata_field() -> ServingError:
    return invalid_argument(
        "GetModelMetadataRequest must specify at least one metadata_field"
    )


def unknown_metadata_field(field: str) -> ServingError:
    return invalid_argument(f"Metadata field {field} is not supported")


def missing_base_path(base_path: str, model_name: str, reason: str) -> ServingError:
    return invalid_argument(
        f"Could not find base path {base_path} for servable {model_name} "
        f"with error {reason}"
    )


def empty_base_path(base_path: str, model_name: str) -> ServingError:
    return _not_found(
        f"No versions of servable {model_name} found under base path {base_path}. "
        "Did you forget to name your leaf directory as a number (eg. '/1/')?"
    )


def model_listed_twice(model_name: str) -> ServingError:
    return invalid_argument(
        f"Illegal to list model {model_name} multiple times in config list"
    )


def relative_base_path(model_name: str, base_path: str) -> ServingError:
    return invalid_argument(
        f"Expected model {model_name} to have an absolute path or URI; "
        f"got base_path()={base_path}"
    )


def foreign_base_path(model_name: str, reason: str) -> ServingError:
    """Refuses a base path in a file system that only the stock server reads."""
    return invalid_argument(f"Base path of model {model_name}: {reason}")


def two_platforms(model_name: str) -> ServingError:
    return invalid_argument(
        "Illegal setting both ModelServerConfig::model_type (deprecated) and "
        f"ModelServerConfig::model_platform, model name is {model_name}"
    )


def unsupported_model_type(model_type: int) -> ServingError:
    return invalid_argument(
        f"ModelServerConfig::model_type choice {model_type} not supported."
    )


def no_platform(model_name: str) -> ServingError:
    return invalid_argument(
        "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
        f"ModelServerConfig::model_platform, model name is {model_name}"
    )


def unsupported_platform(model_name: str, platform: str) -> ServingError:
    return invalid_argument(
        f"Model {model_name} requests unsupported platform {platform}"
    )


def unsupported_config() -> ServingError:
    return invalid_argument(
        "ServerModelConfig type not supported by HandleReloadConfigRequest. "
        "Only ModelConfigList is currently supported"
    )


def label_of_unavailable_version(model_name: str, version: int) -> ServingError:
    return ServingError(
        grpc.StatusCode.FAILED_PRECONDITION,
        f"Request to assign label to version {version} of model {model_name}, "
        "which is not currently available for inference",
    )


def models_not_available(
    failed: Mapping[str, tuple[int | None, ServingError]],
) -> ServingError:
    """Some models did not load, by name with the version and why."""
    texts = []
    for name, (version, error) in failed.items():
        servable = f"{{name: {name} version: {'' if version is None else version}}}"
        reason = f"{error.code.name}: {error.message}"
        texts.append(f"{{{servable} due to error: {reason}}}, ")
    return ServingError(
        grpc.StatusCode.UNKNOWN,
        f"{len(failed)} model(s) did not become available: {{{''.join(texts)}}}",
    )


def no_saved_model(path: str) -> ServingError:
    return _not_found(
        "Could not find SavedModel .pb or .pbtxt at supplied export directory path: "
        f"{path}. Check that the directory exists and that you have the right "
        "permissions for accessing it."
    )


def unparsable_saved_model(file: str, kind: str) -> ServingError:
    """Refuses a damaged SavedModel. The kind is "binary" or "text"."""
    return ServingError(
        grpc.StatusCode.DATA_LOSS, f"Can't parse {file} as {kind} proto"
    )


def no_graph_with_tags(tags: Sequence[str]) -> ServingError:
    return _not_found(
        f"Could not find meta graph def matching supplied tags: {{ {' '.join(tags)} "
        "}. To inspect available tag-sets in the SavedModel, please use the SavedModel "
        "CLI: `saved_model_cli`"
    )


def start_was_stopped() -> ServingError:
    return ServingError(
        grpc.StatusCode.CANCELLED, "The server was stopped before its models were there"
    )


def unreadable_version(path: str, reason: str) -> ServingError:
    return ServingError(
        grpc.StatusCode.UNAVAILABLE, f"Could not load the model in {path}: {reason}"
    )


def too_many_warmup_records(limit: int, path: str) -> ServingError:
    return invalid_argument(
        f"Number of warmup records exceeds the maximum ({limit}) at {path}"
    )


def bad_warmup_record(reason: str) -> ServingError:
    return invalid_argument(f"Failed to parse warmup record: {reason}")


def unsupported_warmup(kind: str | None) -> ServingError:
    return ServingError(
        grpc.StatusCode.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}"
    )


def no_batched_input() -> ServingError:
    return invalid_argument("Batching Run() must have at least one input tensor")


def scalar_input() -> ServingError:
    return invalid_argument(
        "Batching Run() input tensors must have at least one dimension"
    )


def unequal_rows() -> ServingError:
    return invalid_argument(
        "Batching Run() input tensors must have equal 0th-dimension size"
    )


def task_too_large(rows: int, limit: int) -> ServingError:
    return invalid_argument(
        f"Task size {rows} is larger than maximum input batch size {limit}"
    )


def queue_full(enqueued: int, limit: int) -> ServingError:
    return ServingError(
        grpc.StatusCode.UNAVAILABLE,
        "The batch scheduling queue to which this task was submitted is full; "
        f"currently {enqueued} batches enqueued and max_enqueued_batches is {limit}",
    )


def batching_ended() -> ServingError:
    return ServingError(grpc.StatusCode.UNAVAILABLE, "The server is shutting down")


def timeout_in_queue() -> ServingError:
    return ServingError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "Run() timeout exceeded while waiting in batching queue",
    )


def scalar_output() -> ServingError:
    return ServingError(
        grpc.StatusCode.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions"
    )


def wrong_output_rows() -> ServingError:
    return ServingError(
        grpc.StatusCode.FAILED_PRECONDITION,
        "Batched output tensor's 0th dimension does not equal the sum of the 0th "
        "dimension sizes of the input tensors",
    )


def not_convertible(value: str, dtype: str) -> ServingError:
    return ServingError(
        grpc.StatusCode.UNIMPLEMENTED,
        f"Conversion of JSON Value: {value} to type: {dtype}",
    )


def unknown_signature_name(name: str) -> ServingError:
    """Classify and Regress."""
    return invalid_argument(f"No signature was found with the name: {name}")


def unknown_task_signature(name: str) -> ServingError:
    return invalid_argument(f"Requested signature not found in model graph: {name}")


def not_for_predict(methods: Sequence[str], method: str) -> ServingError:
    return ServingError(
        grpc.StatusCode.INTERNAL,
        "Expected prediction signature method_name to be one of "
        f"{{{', '.join(methods)}}}. Was: {method}",
    )


def not_for_examples(kind: str, wanted: str, method: str) -> ServingError:
    return invalid_argument(
        f"Expected {kind} signature method_name to be {wanted}. Was: {method}"
    )


def unsupported_method(name: str) -> ServingError:
    return ServingError(
        grpc.StatusCode.UNIMPLEMENTED, f"Unsupported signature method_name: {name}"
    )


def invalid_argument(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def _not_found(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.NOT_FOUND, message)


def _joined(names: Iterable[str]) -> str:
    # No more fit into a message. Sorting 3,000,000 blocked other calls for 6 s.
    return ",".join(heapq.nsmallest(MAX_MESSAGE_LENGTH, iter(names)))
