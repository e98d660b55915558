"""A client for any TensorFlow Serving that holds an exported DALL·E model."""

# B rows, S text tokens, T image tokens, H height, W width

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict, Unpack

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from keras_dalle.prediction_service.columns import column, pack_tokens, rows_of
from keras_dalle.utils.plain_values import count

MAX_MESSAGE_BYTES = 2**31 - 1
SIGNATURE_DEF = "signature_def"
SERVING_DEFAULT = "serving_default"

Text = str | bytes


class Controls(TypedDict, total=False):
    """What generation may be told. Each is one value for all rows, or one a row.

    What is left out is the model's default; the seed's is 0.

    Attributes:
        negative_prompts: What to steer away from.
        seed: Same prompt, parameters and seed give the same picture.
        guidance_scale: How far to follow the prompt; 1 is off.
        guidance_scale_end: The same at the last image token, reached along a line; -1
            keeps the scale.
        temperature: Of the sampling.
        top_k: Sample from this many likeliest tokens; 0 is off.
        top_p: Sample from the likeliest tokens of this total probability; 1 is off.
    """

    negative_prompts: Text | Sequence[Text]
    seed: int | Sequence[int] | np.ndarray
    guidance_scale: float | Sequence[float] | np.ndarray | None
    guidance_scale_end: float | Sequence[float] | np.ndarray | None
    temperature: float | Sequence[float] | np.ndarray | None
    top_k: int | Sequence[int] | np.ndarray | None
    top_p: float | Sequence[float] | np.ndarray | None


class TextTokens(NamedTuple):
    """What a model reads of prompts.

    Attributes:
        token_ids_BS: int32.
        padding_mask_BS: int32, 1 for real tokens.
    """

    token_ids_BS: np.ndarray
    padding_mask_BS: np.ndarray


class Drawing(NamedTuple):
    """Pictures as arrays.

    Attributes:
        images_BHWC: uint8.
        image_tokens_BT: int32.
    """

    images_BHWC: np.ndarray
    image_tokens_BT: np.ndarray


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
        outputs: The server's answer by name, in which faulty rows are blank.
    """

    def __init__(self, errors: dict[int, str], outputs: Mapping[str, np.ndarray]):
        texts = "; ".join(f"row {row}: {text}" for row, text in errors.items())
        count = len(outputs["error"])
        super().__init__(f"{len(errors)} of {count} rows failed: {texts}")
        self.errors = errors
        self.outputs = outputs

    @property
    def images(self) -> list[bytes]:
        """The files of all rows, white pictures where they are faulty."""
        return list(self.outputs.get("image_bytes", ()))


_CONTROLS = (
    "guidance_scale",
    "guidance_scale_end",
    "temperature",
    "top_k",
    "top_p",
)


class PredictionClient:
    """Asks a server for pictures, over gRPC: a method for each signature.

    Every method raises `ValueError` for another number of values than rows and for
    integers that are too large, `RowError` where single rows are faulty, and
    `PredictionClientError` where the call failed.

    Args:
        target: The server's address, such as "127.0.0.1:8500".
        model_name: The model's name on the server.
        timeout: Seconds after which a call fails; None for never.
        credentials: For a server with TLS, as `grpc.ssl_channel_credentials` makes
            them; None for one without.
    """

    def __init__(
        self,
        target: str,
        model_name: str = "dalle",
        timeout: float | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ):
        self._target = target
        self._model_name = model_name
        self._timeout = timeout
        # A client's own limit is 4 MB unless raised, and pictures soon pass it.
        limits = [
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ]
        if credentials is None:
            self._channel = grpc.insecure_channel(target, options=limits)
        else:
            self._channel = grpc.secure_channel(target, credentials, options=limits)
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
        self, prompts: Sequence[Text], **controls: Unpack[Controls]
    ) -> list[bytes]:
        """Draws one picture a prompt.

        Args:
            prompts: B texts. Bytes travel as they are.
            **controls: See `Controls`.

        Returns:
            B pictures as PNG bytes.
        """
        columns = {"prompt": prompts, **self._controls(controls)}
        rows = rows_of("prompt", prompts)
        return list(self.predict(SERVING_DEFAULT, rows, columns)["image_bytes"])

    def generate_arrays(
        self, prompts: Sequence[Text], **controls: Unpack[Controls]
    ) -> Drawing:
        """As `generate`: pixels and image tokens in place of files."""
        columns = {"prompt": prompts, **self._controls(controls)}
        drawn = self.predict("generate", rows_of("prompt", prompts), columns)
        return Drawing(drawn["image"], drawn["image_tokens"])

    def stream(
        self,
        prompts: Sequence[Text],
        every: int | None = None,
        *,
        image_tokens: Sequence[Any] | None = None,
        **controls: Unpack[Controls],
    ) -> Iterator[list[bytes]]:
        """Draws as `generate`, and shows the pictures while they are drawn.

        Args:
            prompts: B texts.
            every: Image tokens from one picture to the next; the model's default is a
                fourth of them.
            image_tokens: B rows of the first tokens, where those are given. The first
                pictures then have the first multiple of `every` that is more.
            **controls: See `Controls`.

        Yields:
            B pictures as PNG bytes, the last ones whole.
        """
        columns = {"prompt": prompts, **self._controls(controls)}
        if every is None:
            every = int(self.defaults("decode_chunk")["max_new_tokens"])
        every = count("every", every)
        rows = rows_of("prompt", prompts)
        given = [()] * rows if image_tokens is None else image_tokens
        columns["image_tokens_bytes"] = pack_tokens(given)
        num_tokens_B = np.array([len(tokens) for tokens in given], np.int64)
        until = (num_tokens_B.max(initial=0) // every + 1) * every
        is_complete = not rows
        while not is_complete:
            columns["max_new_tokens"] = until - num_tokens_B
            chunk = self.predict("decode_chunk", rows, columns)
            yield list(chunk["image_bytes"])
            columns["image_tokens_bytes"] = chunk["image_tokens_bytes"]
            num_tokens_B = chunk["num_tokens"]
            until += every
            is_complete = bool(chunk["is_complete"].all())

    def complete_image(
        self,
        prompts: Sequence[Text],
        images: bytes | Sequence[bytes],
        *,
        masks: bytes | Sequence[bytes] | None = None,
        kept_rows: int | Sequence[int] | None = None,
        **controls: Unpack[Controls],
    ) -> list[bytes]:
        """Draws a part of given pictures anew.

        Args:
            prompts: B texts.
            images: PNG or JPEG files of any size, one for all or one a prompt.
            masks: PNG files, above 0 where to draw.
            kept_rows: In place of masks: how many rows of image tokens stay, from the
                top.
            **controls: See `Controls`.

        Returns:
            B pictures as PNG bytes.
        """
        columns = {
            "prompt": prompts,
            "image_bytes": images,
            "mask_bytes": b"" if masks is None else masks,
            "kept_rows": -1 if kept_rows is None else kept_rows,
            **self._controls(controls),
        }
        rows = rows_of("prompt", prompts)
        return list(self.predict("complete_image", rows, columns)["image_bytes"])

    def tokenize(self, prompts: Sequence[Text]) -> TextTokens:
        """What the model reads of B prompts."""
        rows = rows_of("prompt", prompts)
        tokens = self.predict("tokenize", rows, {"prompt": prompts})
        return TextTokens(tokens["token_ids"], tokens["padding_mask"])

    def encode_image(self, images: Sequence[bytes]) -> np.ndarray:
        """Image tokens int32 [B, T] of B PNG or JPEG files of any size."""
        columns = {"image_bytes": images}
        rows = rows_of("image_bytes", images)
        return self.predict("encode_image", rows, columns)["image_tokens"]

    def decode_tokens(self, image_tokens: Sequence[Any] | np.ndarray) -> list[bytes]:
        """Pictures as PNG bytes of image tokens [B, T]."""
        columns = {"image_tokens_bytes": pack_tokens(image_tokens)}
        decoded = self.predict("decode_tokens", len(image_tokens), columns)
        return list(decoded["image_bytes"])

    def score(
        self,
        prompts: Text | Sequence[Text],
        *,
        images: Sequence[bytes] | None = None,
        image_tokens: Sequence[Any] | np.ndarray | None = None,
    ) -> np.ndarray:
        """How likely pictures are under prompts.

        Args:
            prompts: One text for all pictures, or one a picture.
            images: B PNG or JPEG files of any size.
            image_tokens: In place of files: [B, T].

        Returns:
            float32 [B], the natural logarithm of each picture's probability.
        """
        if (images is None) == (image_tokens is None):
            received = "neither" if images is None else "both"
            raise ValueError(
                f"Give one of `images` and `image_tokens`. Received: {received}."
            )
        tokens = None if image_tokens is None else pack_tokens(image_tokens)
        columns: dict[str, Any] = {
            "prompt": prompts,
            "image_tokens_bytes": b"" if tokens is None else tokens,
        }
        if self._reads_pictures():
            columns["image_bytes"] = b"" if images is None else images
        elif images is not None:
            raise ValueError(
                "`images` need a model whose VQGAN has an encoder. Received: a model "
                "that reads tokens alone. Give `image_tokens`."
            )
        if images is not None:
            rows = rows_of("image_bytes", images)
        else:
            rows = len(tokens or ())
        return self.predict("score", rows, columns)["log_likelihood"]

    def _reads_pictures(self) -> bool:
        """Whether `score` takes files; a model without an encoder takes tokens."""
        signature = self.metadata().get("score")
        return signature is None or "image_bytes" in signature.inputs

    def predict(
        self, signature: str, rows: int, columns: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """Calls a signature.

        Args:
            signature: Its name.
            rows: B.
            columns: Each input by its name: one value for all rows, or B of them.

        Returns:
            Each output [B, ...] by its name.
        """
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._model_name
        request.model_spec.signature_name = signature
        for name, values in columns.items():
            request.inputs[name].CopyFrom(column(name, values, rows))
        response = self._call(self._prediction.Predict, request)
        outputs = {
            name: tf.make_ndarray(proto) for name, proto in response.outputs.items()
        }
        errors = {
            row: text.decode(errors="replace")
            for row, text in enumerate(outputs["error"])
            if text
        }
        if errors:
            raise RowError(errors, outputs)
        return outputs

    def _controls(self, given: Controls) -> dict[str, Any]:
        """A value for every control."""
        controls = {name: x for name, x in given.items() if x is not None}
        controls["negative_prompt"] = controls.pop("negative_prompts", "")
        controls.setdefault("seed", 0)
        if all(name in controls for name in _CONTROLS):
            return controls
        return {**self.defaults(), **controls}

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

    def defaults(self, signature: str = SERVING_DEFAULT) -> dict[str, int | float]:
        """The model's own parameters, from a signature's defaults of one row.

        A server fills them in for requests of one row alone.

        Raises:
            PredictionClientError: The call failed.
        """
        defaults = self.metadata()[signature].defaults
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


def _shortest(value: np.generic) -> int | float:
    """0.3 for the float32 nearest to it, and not 0.30000001192092896."""
    return float(str(value)) if isinstance(value, np.floating) else value.item()
