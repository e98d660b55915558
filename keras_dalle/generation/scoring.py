"""How likely a picture is for a prompt, by the model that draws.

The probability of a picture is the product of its tokens', each given the prompt and
the tokens before it. Only the VQGAN's codes count, as generation draws no others.
Guidance, temperature, top-k and top-p have no part in it.
"""

# B batch, S text tokens, T image tokens, V VQGAN codes, H height, W width

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

# The logits of 256 positions and 16,384 codes are 17 MB a row.
ROWS_AT_ONCE = 16


@tf.autograph.experimental.do_not_convert
def token_log_likelihoods(
    backbone: Any,
    token_ids: tf.Tensor,
    padding_mask: tf.Tensor,
    image_tokens: tf.Tensor,
    *,
    codebook_size: int,
) -> tf.Tensor:
    """Natural logarithm of each image token's probability.

    Runs eagerly, inside a `tf.function` and in a SavedModel: no Python op, no XLA. All
    positions of a row are computed at once, and row by row, so that a row's result is
    the same bits in any batch.

    Args:
        backbone: a `DalleBartBackbone`.
        token_ids: int32 `[B, S]`, the prompts.
        padding_mask: int32 `[B, S]`, 1 for real tokens.
        image_tokens: int32 `[B, image_length]`, each in `[0, codebook_size)`.
        codebook_size: probabilities are over the tokens below it.

    Returns:
        float32 `[B, image_length]`.
    """
    image_tokens = tf.ensure_shape(image_tokens, [None, backbone.image_length])
    start_B1 = tf.fill([tf.shape(token_ids)[0], 1], backbone.decoder_start_token_id)
    seen_BT = tf.concat([start_B1, image_tokens[:, :-1]], axis=1)

    def row(inputs):
        ids_S, mask_S, seen_T, chosen_T = inputs
        logits_1TV = backbone(
            {
                "encoder_token_ids": ids_S[None],
                "encoder_padding_mask": mask_S[None],
                "decoder_token_ids": seen_T[None],
            }
        )["logits"]
        logits_TV = tf.cast(logits_1TV[0, :, :codebook_size], tf.float32)
        return tf.gather(tf.nn.log_softmax(logits_TV), chosen_T, batch_dims=1)

    return tf.map_fn(
        row,
        (token_ids, padding_mask, seen_BT, image_tokens),
        fn_output_signature=tf.TensorSpec([backbone.image_length], tf.float32),
    )


# === Scoring modes: (task, prompt [B], image_tokens [B, T]) -> float32 [B, T] ===


def _log_likelihood(task, prompt, image_tokens):
    return _given(task, task.preprocessor.generate_preprocess(prompt), image_tokens)


def _pointwise_mutual_information(task, prompt, image_tokens):
    blank = task.preprocessor.negative_preprocess(tf.fill(tf.shape(prompt), ""))
    return _log_likelihood(task, prompt, image_tokens) - _given(
        task, blank, image_tokens
    )


def _given(task, text, image_tokens):
    return token_log_likelihoods(
        task.backbone,
        text["encoder_token_ids"],
        text["encoder_padding_mask"],
        image_tokens,
        codebook_size=task.vqgan.codebook_size,
    )


SCORING_MODES = {
    "log_likelihood": _log_likelihood,
    "pmi": _pointwise_mutual_information,
}


def check_scoring_mode(scoring_mode: str) -> None:
    """Raises `ValueError` unless there is such a mode."""
    if scoring_mode not in SCORING_MODES:
        raise ValueError(
            f"`scoring_mode` must be one of {', '.join(SCORING_MODES)}. Received: "
            f"{scoring_mode!r}."
        )


def score_rows(
    task: Any, prompt: tf.Tensor, image_tokens: tf.Tensor, scoring_mode: str
) -> dict[str, tf.Tensor]:
    """The graph of `DalleBartTextToImage.score_rows`, which describes it."""
    per_token_BT = SCORING_MODES[scoring_mode](task, prompt, image_tokens)
    total_B = tf.reduce_sum(per_token_BT, axis=1)
    return {scoring_mode: total_B, "per_token": per_token_BT}


# === From Python ===


def _make_score_function(task, scoring_mode):
    signature = [
        tf.TensorSpec([None], tf.string),
        tf.TensorSpec([None, task.backbone.image_length], tf.int32),
    ]

    @tf.function(input_signature=signature, autograph=False)
    def score_function(prompt, image_tokens):
        return task.score_rows(prompt, image_tokens, scoring_mode)

    return score_function


def _make_encode_function(task):
    size = task.vqgan.image_size

    signature = [tf.TensorSpec([None, size, size, 3], tf.uint8)]

    @tf.function(input_signature=signature, autograph=False)
    def encode_function(images):
        # Row by row, as generation decodes: a token that two codes are almost equally
        # near to must not depend on the neighbours.
        return tf.map_fn(
            lambda image_HWC: task.vqgan.encode_images(image_HWC[None])[0],
            images,
            fn_output_signature=tf.TensorSpec([task.backbone.image_length], tf.int32),
        )

    return encode_function


def _graph_of(task, make, *arguments):
    """`make(task, ...)`, made once a task: one graph for every batch size."""
    # Past Keras's `__setattr__`, which would track the dictionary as a model's part.
    graphs = task.__dict__.setdefault("_scoring_graphs", {})
    if (make, *arguments) not in graphs:
        graphs[make, *arguments] = make(task, *arguments)
    return graphs[make, *arguments]


def score_in_batches(
    task: Any, inputs: Mapping[str, Any], scoring_mode: str, per_token: bool
) -> np.ndarray:
    """What `DalleBartTextToImage.score` does, which describes it."""
    check_scoring_mode(scoring_mode)
    prompts_B, pictures = _rows_of(task, inputs)
    score_function = _graph_of(task, _make_score_function, scoring_mode)
    name = "per_token" if per_token else scoring_mode
    shape = (0, task.backbone.image_length) if per_token else (0,)
    scores = [np.zeros(shape, np.float32)]
    for rows in _batches(len(prompts_B)):
        tokens_BT = pictures[rows]
        if "images" in inputs:
            tokens_BT = _graph_of(task, _make_encode_function)(tokens_BT)
        prompt_B = tf.constant(prompts_B[rows], tf.string)
        scores.append(score_function(prompt_B, tokens_BT)[name].numpy())
    return np.concatenate(scores)


def _batches(count: int) -> Iterator[slice]:
    for first in range(0, count, ROWS_AT_ONCE):
        yield slice(first, first + ROWS_AT_ONCE)


def _rows_of(task, inputs):
    """Prompts [B] and what they are scored with, images or tokens [B, ...]."""
    names = set(inputs) if isinstance(inputs, Mapping) else set()
    if names not in ({"prompts", "images"}, {"prompts", "image_tokens"}):
        received = sorted(names) or type(inputs).__name__
        raise ValueError(
            "`inputs` must be a dictionary with `prompts` and either `images` or "
            f"`image_tokens`. Received: {received}."
        )
    if "images" in inputs:
        pictures = _checked_images(inputs["images"], task.vqgan.image_size)
    else:
        pictures = _checked_tokens(
            inputs["image_tokens"],
            task.backbone.image_length,
            task.vqgan.codebook_size,
        )
    prompts_B = np.array(inputs["prompts"], dtype=object)
    if prompts_B.ndim and len(prompts_B) != len(pictures):
        raise ValueError(
            f"`prompts` must be one text, or one a picture (={len(pictures)}). "
            f"Received: {len(prompts_B)} prompts."
        )
    return np.broadcast_to(prompts_B, [len(pictures)]), pictures


def _checked_images(images, size):
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.shape[1:] != (size, size, 3):
        raise ValueError(
            f"`images` must be uint8 [B, {size}, {size}, 3]. Received: "
            f"{images.dtype} {images.shape}. Resize them first."
        )
    return images


def _checked_tokens(image_tokens, length, codebook_size):
    tokens_BT = np.asarray(image_tokens)
    is_integer = np.issubdtype(tokens_BT.dtype, np.integer)
    if not is_integer or tokens_BT.shape[1:] != (length,):
        raise ValueError(
            f"`image_tokens` must be integers [B, {length}]. Received: "
            f"{tokens_BT.dtype} {tokens_BT.shape}."
        )
    if tokens_BT.size and not 0 <= tokens_BT.min() <= tokens_BT.max() < codebook_size:
        raise ValueError(
            f"`image_tokens` must be in [0, {codebook_size}). Received: "
            f"{tokens_BT.min()} to {tokens_BT.max()}."
        )
    return tokens_BT.astype(np.int32)
