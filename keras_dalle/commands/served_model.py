"""A server's model, as commands use a `DalleBartTextToImage` of this process."""

# B prompts, M pictures, T image tokens, H height, W width

import bisect
import functools
import io
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from keras_dalle.commands.drawing import ROWS_AT_ONCE
from keras_dalle.commands.grids import decode_pngs
from keras_dalle.generation.given_images import square
from keras_dalle.generation.prompt_inputs import text_rows
from keras_dalle.prediction_service.client import (
    SERVING_DEFAULT,
    PredictionClient,
    PredictionClientError,
    RowError,
)

# The stock server's words where it batches, and a request is larger than a batch.
_TOO_MANY_ROWS = "is larger than maximum input batch size"
# Its parts have no weight, so that a score reads what guidance leads away from alone:
# the blank caption, which "" as a prompt is not in every model.
_BLANK_PROMPT = "a:0 AND a:0"
# Why a model lacks a signature, and what helps.
_WITHOUT = {
    "complete_image": "Its VQGAN has no encoder: export a preset whose VQGAN has one.",
    "decode_chunk": "Export the model by `keras-dalle export`.",
    "score": "Export the model by `keras-dalle export`.",
}
Columns = Mapping[str, Any]


class ServedModel:
    """What a server's signatures can do, under the names of `DalleBartTextToImage`.

    Args:
        client: of the server, connected while this is used.

    Attributes:
        generation_defaults: the model's own parameters by name.
        backbone: has the `image_length`, T.

    Raises:
        PredictionClientError: the server cannot be asked.
    """

    def __init__(self, client: PredictionClient):
        self._client = client
        self._signatures = client.metadata()
        self._rows_at_once = ROWS_AT_ONCE
        self._files: dict[tuple[int, ...], bytes] = {}
        length, self._image_size = self._sizes()
        self.backbone = SimpleNamespace(image_length=length)
        self.generation_defaults = client.defaults()

    def generate(
        self,
        inputs: Any,
        *,
        num_images: int = 1,
        seed: Any = 0,
        image: Sequence[Sequence[int]] | None = None,
        return_tokens: bool = False,
        **parameters: Any,
    ) -> Any:
        """Pictures uint8 [M, H, W, 3], as `DalleBartTextToImage.generate` draws them.

        Args:
            inputs: as there.
            num_images, seed: as there.
            image: image tokens [B, T], -1 where to draw, of pictures that
                `encode_images` has read.
            return_tokens: as there; not with an `image`.
            **parameters: all others, by name.
        """
        columns = _columns(inputs, {**parameters, "seed": seed}, num_images)
        if return_tokens:
            self._check_no_image(image)
            drawings = list(self._in_parts(self._client.generate_arrays, columns))
            return {
                "images": np.concatenate([x.images_BHWC for x in drawings]),
                "image_tokens": np.concatenate([x.image_tokens_BT for x in drawings]),
            }
        if image is None:
            parts = self._in_parts(self._client.generate, columns)
        else:
            columns["known"] = list(np.repeat(image, num_images, axis=0))
            parts = self._in_parts(self._complete, columns)
        return decode_pngs([file for files in parts for file in files])

    def generate_stream(
        self,
        inputs: Any,
        *,
        every: int,
        image: Sequence[Sequence[int]] | None = None,
        **parameters: Any,
    ) -> Iterator[np.ndarray]:
        """Pictures uint8 [B, H, W, 3] at each `every` tokens, the last ones whole.

        Args:
            inputs: as of `DalleBartTextToImage.generate_stream`.
            every: as there.
            image: image tokens [B, T]; the given ones are the first of each picture.
            **parameters: as there.

        Raises:
            ValueError: a token is given behind one that is not.
        """
        self._require("decode_chunk", "`--stream` and `--animation`")
        columns = _columns(inputs, parameters)
        if image is not None:
            columns["image_tokens"] = _first_tokens(image)
        every = min(every, self.backbone.image_length)
        streams = [
            itertools.chain([first], later)
            for first, later in self._in_parts(
                functools.partial(self._begun_stream, every), columns
            )
        ]
        # A stream of pictures that are given whole may end earlier.
        latest: list[Any] = [None] * len(streams)
        for views in itertools.zip_longest(*streams):
            pairs = zip(latest, views, strict=True)
            latest = [old if new is None else new for old, new in pairs]
            yield np.concatenate(latest)

    def _begun_stream(
        self, every: int, image_tokens: Sequence[Any] = (), **columns: Any
    ) -> tuple[np.ndarray, Iterator[np.ndarray]]:
        """The first view of some rows, and the later ones."""
        views = self._client.stream(
            every=every, image_tokens=image_tokens or None, **columns
        )
        first_BHWC = decode_pngs(next(views))
        # Before that, there is nothing to see but what was given.
        missed = max(map(len, image_tokens), default=0) // every
        later = map(decode_pngs, views)
        return first_BHWC, itertools.chain([first_BHWC] * missed, later)

    def encode_images(self, image: np.ndarray) -> np.ndarray:
        """Image tokens int [T] of a picture uint8 [H, W, 3] of any size."""
        self._require("complete_image", "`--image`")
        file = _png(square(image, self._image_size))
        (tokens_T,) = self._client.encode_image([file])
        self._files[tuple(tokens_T.tolist())] = file
        return tokens_T

    def score(
        self, inputs: Mapping[str, Any], *, scoring_mode: str = "log_likelihood"
    ) -> np.ndarray:
        """float32 [M], as `DalleBartTextToImage.score`, of `image_tokens` alone."""
        self._require("score", "`--best-of`")
        scores = self._log_likelihood(inputs["prompts"], inputs["image_tokens"])
        if scoring_mode == "pmi":
            blank = [_BLANK_PROMPT] * len(scores)
            scores = scores - self._log_likelihood(blank, inputs["image_tokens"])
        return scores

    def kept_and_left_out(self, prompts: Sequence[bytes]) -> list[tuple[str, str]]:
        """Returns, for each cut prompt, the text that is read and the rest.

        The signature `tokenize` gives only the tokens that are read, not how many there
        were. So a prompt is cut if its first words alone give the same tokens.
        """
        if "tokenize" not in self._signatures:
            return []
        masks = self._in_parts(self._padding_mask, {"prompts": prompts})
        are_full = [mask_S.all() for mask_BS in masks for mask_S in mask_BS]
        pairs = [
            self._cut(prompt.decode(errors="replace"))
            for prompt, is_full in zip(prompts, are_full, strict=True)
            if is_full
        ]
        return [pair for pair in pairs if pair[1]]

    def _padding_mask(self, prompts: Sequence[bytes]) -> np.ndarray:
        """int32 [B, S]; rows that the server refuses fail when they are drawn."""
        try:
            return self._client.tokenize(prompts).padding_mask_BS
        except RowError as error:
            return error.outputs["padding_mask"]

    def _cut(self, prompt: str) -> tuple[str, str]:
        """Splits a prompt behind the shortest beginning that gives the same tokens."""
        ends = [word.end() for word in re.finditer(r"\S+", prompt)] or [len(prompt)]

        def tokens(end: int) -> np.ndarray:
            return self._client.tokenize([prompt[:end]]).token_ids_BS

        whole = tokens(len(prompt))
        fewest = bisect.bisect_left(
            ends, True, key=lambda end: np.array_equal(tokens(end), whole)
        )
        end = ends[min(fewest, len(ends) - 1)]
        return prompt[:end], prompt[end:].strip()

    def _log_likelihood(self, prompts, tokens_MT):
        columns = {"prompts": prompts, "image_tokens": tokens_MT}
        return np.concatenate(list(self._in_parts(self._client.score, columns)))

    def _complete(self, prompts, known, **controls):
        """PNG files of pictures of which the tokens that are not -1 stay."""
        known_BT = np.stack(known)
        masks = [(row_T < 0).astype(np.uint8).tobytes() for row_T in known_BT]
        files = [self._file_with(row_T) for row_T in known_BT]
        return self._client.complete_image(prompts, files, masks=masks, **controls)

    def _file_with(self, known_T):
        """A picture with these tokens where they are known: no more of it is used."""
        for tokens, file in self._files.items():
            if ((known_T < 0) | (known_T == tokens)).all():
                return file
        if (known_T < 0).all():
            return _png(np.zeros((self._image_size, self._image_size, 3), np.uint8))
        raise ValueError("`image` must be of pictures that `encode_images` has read.")

    def _in_parts(self, call: Callable, columns: Columns) -> Iterator[Any]:
        """Answers to some rows at a time, as many as the server takes."""
        count, start = len(columns["prompts"]), 0
        while start < count:
            end = min(start + self._rows_at_once, count)
            part = {name: list(x[start:end]) for name, x in columns.items()}
            try:
                yield call(**part)
            except PredictionClientError as error:
                if _TOO_MANY_ROWS not in error.details or end - start == 1:
                    raise
                self._rows_at_once = (end - start) // 2
            else:
                start = end

    def _sizes(self) -> tuple[int, int]:
        """T and H."""
        if not {SERVING_DEFAULT, "generate"} <= set(self._signatures):
            raise ValueError(
                "The server's model must be what `keras-dalle export` writes, with a "
                f"signature `generate`. Received: {_names(self._signatures)}. Name "
                "another: --model-name NAME"
            )
        outputs = self._signatures["generate"].outputs
        sizes = (outputs[name].tensor_shape for name in ("image_tokens", "image"))
        length, size = (shape.dim[1].size for shape in sizes)
        return length, size

    def _require(self, signature: str, option: str) -> None:
        if signature not in self._signatures:
            raise ValueError(
                f"{option} needs the signature `{signature}` of the server's model. "
                f"Received: {_names(self._signatures)}. {_WITHOUT[signature]}"
            )

    def _check_no_image(self, image):
        if image is not None:
            raise ValueError(
                "`--best-of` does not go with `--image` on a server, whose signature "
                "`complete_image` gives no tokens to rank by. Received: both. Use "
                "`keras-dalle generate`."
            )


def _columns(inputs: Any, parameters: Columns, num_images: int = 1) -> dict[str, Any]:
    """Prompts and parameters, [M] by name, with the seeds of further pictures."""
    rows, _ = text_rows(inputs)
    count = len(rows["prompt"])
    columns: dict[str, Any] = {
        "prompts": rows["prompt"],
        "negative_prompts": rows["negative_prompt"],
        **{name: np.asarray(x) for name, x in parameters.items()},
    }
    columns = {
        name: np.repeat(np.broadcast_to(x, count), num_images)
        for name, x in columns.items()
    }
    seed_M = columns.get("seed", np.zeros(count * num_images)).astype(np.int64)
    columns["seed"] = seed_M + np.tile(np.arange(num_images), count)
    return columns


def _first_tokens(image: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """The given tokens of each row, which must be its first ones."""
    known_BT = np.asarray(image)
    is_known_BT = known_BT >= 0
    if (is_known_BT[:, 1:] & ~is_known_BT[:, :-1]).any():
        raise ValueError(
            "On a server, `--stream` and `--animation` go with `--keep-rows`, and not "
            "with `--mask` or `--keep-fraction`: its signature `decode_chunk` draws "
            "behind what is given alone. Leave them out, or use `keras-dalle generate`."
        )
    pairs = zip(known_BT, is_known_BT, strict=True)
    return [known_T[is_known_T] for known_T, is_known_T in pairs]


def _names(signatures: Mapping[str, Any]) -> str:
    # Initialization is one of them, and cannot be called.
    names = sorted(name for name in signatures if not name.startswith("__"))
    return f"signatures {', '.join(names)}"


def _png(image_HWC: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image_HWC).save(buffer, "PNG")
    return buffer.getvalue()
