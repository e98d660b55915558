"""A client for any TensorFlow Serving that holds an exported DALL·E model."""

from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

MAX_MESSAGE_BYTES = 2**31 - 1
SIGNATURE_DEF = "signature_def"
SERVING_DEFAULT = "serving_default"
COLUMNS = {
    "prompt": object,
    "negative_prompt": object,
    "seed": np.int64,
    "guidance_scale": np.float32,
    "guidance_scale_end": np.float32,
    "temperature": np.float32,
    "top_k": np.int32,
    "top_p": np.float32,
}


class PredictionClientError(RuntimeError):
    """The server refused a call or could not be reached.

    Attributes:
        code: The gRPC status code.
        details: The server's text.
    """

    def __init__(self, target: str, code: grpc.StatusCode, details: str):
        super().__init__(f"{target} answered {code.name}: {details}")
        self.code = code
        self.details = details


class RowError(ValueError):
    """Some rows of a request were faulty.

    Attributes:
        errors: The server's text by row number.
        images: The PNG bytes of all rows; those of faulty rows are blank pictures.
    """

    def __init__(self, errors: dict[int, str], images: list[bytes]):
        texts = "; ".join(f"row {row}: {text}" for row, text in errors.items())
        super().__init__(f"{len(errors)} of {len(images)} rows failed: {texts}")
        self.errors = errors
        self.images = images


class PredictionClient:
    """Asks a server for pictures, over gRPC.

    Args:
        target: The server's address, such as "127.0.0.1:8500".
        model_name: The model's name on the server.
        timeout: Seconds after which a call fails; None for never.
    """

    def __init__(
        self, target: str, model_name: str = "dalle", timeout: float | None = None
    ):
        self._target = target
        self._model_name = model_name
        self._timeout = timeout
        # A client's own limit is 4 MB unless raised, and pictures soon pass it.
        self._channel = grpc.insecure_channel(
            target,
            options=[
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ],
        )
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        )
        self._model = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def __enter__(self) -> "PredictionClient":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def generate(
        self,
        prompts: Sequence[str | bytes],
        *,
        negative_prompts: str | bytes | Sequence[str | bytes] = "",
        seed: int | Sequence[int] = 0,
        guidance_scale: float | Sequence[float] | None = None,
        guidance_scale_end: float | Sequence[float] | None = None,
        temperature: float | Sequence[float] | None = None,
        top_k: int | Sequence[int] | None = None,
        top_p: float | Sequence[float] | None = None,
    ) -> list[bytes]:
        """Draws one picture a prompt.

        Args:
            prompts: B texts. Bytes travel as they are.
            negative_prompts: What to steer away from. This and what follows is one
                value for all rows, or B of them; `None` is the model's default.
            seed: Same prompt, parameters and seed give the same picture.
            guidance_scale: How far to follow the prompt; 1 is off.
            guidance_scale_end: The same at the last image token, reached along a line;
                -1 keeps the scale.
            temperature: Of the sampling.
            top_k: Sample from this many likeliest tokens; 0 is off.
            top_p: Sample from the likeliest tokens of this total probability; 1 is off.

        Returns:
            B pictures as PNG bytes.

        Raises:
            ValueError: A parameter has another number of values, or is an integer too
                large for the model.
            RowError: Parameters of single rows were faulty.
            PredictionClientError: The call failed.
        """
        rows = len(prompts)
        parameters = {
            "guidance_scale": guidance_scale,
            "guidance_scale_end": guidance_scale_end,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
        }
        if any(x is None for x in parameters.values()):
            given = {name: x for name, x in parameters.items() if x is not None}
            parameters = {**self.defaults(), **given}
        values = {
            **parameters,
            "prompt": prompts,
            "negative_prompt": negative_prompts,
            "seed": seed,
        }
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._model_name
        for name, dtype in COLUMNS.items():
            column = _column(name, values[name], dtype, rows)
            request.inputs[name].CopyFrom(column)
        response = self._call(self._prediction.Predict, request)
        images = list(response.outputs["image_bytes"].string_val)
        texts = response.outputs["error"].string_val
        errors = {
            row: text.decode(errors="replace") for row, text in enumerate(texts) if text
        }
        if errors:
            raise RowError(errors, images)
        return images

    def metadata(self) -> dict[str, meta_graph_pb2.SignatureDef]:
        """The model's signatures by name.

        Raises:
            PredictionClientError: The call failed.
        """
        request = get_model_metadata_pb2.GetModelMetadataRequest()
        request.model_spec.name = self._model_name
        request.metadata_field.append(SIGNATURE_DEF)
        response = self._call(self._prediction.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[SIGNATURE_DEF].Unpack(signatures)
        return dict(signatures.signature_def)

    def defaults(self) -> dict[str, int | float]:
        """The model's own parameters, from its signature's defaults of one row.

        A server fills them in for requests of one row alone.

        Raises:
            PredictionClientError: The call failed.
        """
        defaults = self.metadata()[SERVING_DEFAULT].defaults
        return {
            name: _shortest(tf.make_ndarray(proto)[0])
            for name, proto in defaults.items()
            if proto.dtype != tf.string.as_datatype_enum
        }

    def status(self) -> dict[int, str]:
        """The state of each version, such as {1: "AVAILABLE"}.

        Raises:
            PredictionClientError: The call failed.
        """
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self._model_name
        response = self._call(self._model.GetModelStatus, request)
        state_name = get_model_status_pb2.ModelVersionStatus.State.Name
        return {
            status.version: state_name(status.state)
            for status in response.model_version_status
        }

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise PredictionClientError(
                self._target, error.code(), error.details()
            ) from error


def _column(name: str, values: Any, dtype: Any, rows: int) -> tensor_pb2.TensorProto:
    """A [B] tensor of one value for all rows, or of B values."""
    if np.issubdtype(dtype, np.integer):
        _check_range(name, values, np.iinfo(dtype))
    array = np.asarray(values, dtype)
    if array.shape not in ((), (rows,)):
        raise ValueError(
            f"`{name}` must be one value or one for each of the {rows} prompts. "
            f"Received: {values!r}"
        )
    return tf.make_tensor_proto(np.broadcast_to(array, [rows]))


def _shortest(value: np.generic) -> int | float:
    """0.3 for the float32 nearest to it, and not 0.30000001192092896."""
    return float(str(value)) if isinstance(value, np.floating) else value.item()


def _check_range(name: str, values: Any, limits: np.iinfo) -> None:
    """Raises for integers that NumPy would refuse unnamed, or wrap in silence."""
    array = np.asarray(values)
    if np.any(array < limits.min) or np.any(array > limits.max):
        raise ValueError(
            f"`{name}` must be from {limits.min} to {limits.max}. Received: {values!r}"
        )
