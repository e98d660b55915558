"""Configuration files: text protos of the stock server, and the messages in them.

`ModelServerConfig` is in the wheel of tensorflow-serving-api. The others are not, and
are declared here, field for field, from TF Serving 2.20.
"""

from pathlib import Path
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from google.protobuf.message import Message

from keras_dalle.utils.foreign_values import one_line

MAX_FILE_BYTES = 2**20
_PACKAGE = "tensorflow.serving"
_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _FIELD.TYPE_STRING,
    "bool": _FIELD.TYPE_BOOL,
    "int64": _FIELD.TYPE_INT64,
}
_INT64 = "google.protobuf.Int64Value"
_BOOL = "google.protobuf.BoolValue"
# message -> field -> (number, type)
_MESSAGES = {
    "SSLConfig": {
        "server_key": (1, "string"),
        "server_cert": (2, "string"),
        "custom_ca": (3, "string"),
        "client_verify": (4, "bool"),
    },
    "PrometheusConfig": {"enable": (1, "bool"), "path": (2, "string")},
    "MonitoringConfig": {"prometheus_config": (1, f"{_PACKAGE}.PrometheusConfig")},
    "BatchingParameters": {
        "max_batch_size": (1, _INT64),
        "batch_timeout_micros": (2, _INT64),
        "max_enqueued_batches": (3, _INT64),
        "num_batch_threads": (4, _INT64),
        "thread_pool_name": (5, "google.protobuf.StringValue"),
        "allowed_batch_sizes": (6, "repeated int64"),
        "pad_variable_length_inputs": (7, "bool"),
        "enable_large_batch_splitting": (8, _BOOL),
        "max_execution_batch_size": (9, _INT64),
    },
}


def _declare() -> descriptor_pool.DescriptorPool:
    """A pool of its own: the stock messages' names may be taken in the common one."""
    file = descriptor_pb2.FileDescriptorProto(
        name="keras_dalle/serving_config.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for name, (number, type_name) in fields.items():
            repeated, _, scalar = type_name.rpartition(" ")
            field = message.field.add(name=name, number=number)
            field.label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
            if scalar in _SCALARS:
                field.type = _SCALARS[scalar]
            else:
                field.type = _FIELD.TYPE_MESSAGE
                field.type_name = f".{type_name}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return pool


_POOL = _declare()


def _message_class(name: str) -> Any:
    descriptor = _POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}")
    return message_factory.GetMessageClass(descriptor)


SSLConfig = _message_class("SSLConfig")
MonitoringConfig = _message_class("MonitoringConfig")
BatchingParameters = _message_class("BatchingParameters")


def read_text_proto(path: str | Path, message_class: Any) -> Any:
    """Reads a message from a text file.

    Raises:
        ValueError: It is not such a message. Names the line.
        OSError: It cannot be read.
    """
    with open(path, "rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    message: Message = message_class()
    try:
        if len(content) > MAX_FILE_BYTES:
            raise ValueError(f"it has more than {MAX_FILE_BYTES} bytes")
        return text_format.Parse(content.decode("utf-8"), message)
    except (text_format.ParseError, ValueError) as error:
        raise ValueError(
            f"Invalid protobuf file: '{path}': Error parsing text-format "
            f"{message.DESCRIPTOR.full_name}: {one_line(str(error))}"
        ) from error
