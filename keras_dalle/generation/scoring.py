"""How likely a picture is for a prompt, by the model that draws.

The probability of a picture is the product of its tokens', each given the prompt and
the tokens before it. Only the VQGAN's codes count, as generation draws no others.
Guidance, temperature, top-k and top-p have no part in it.
"""

# B batch, K texts of a picture, C parts of a prompt, S text tokens, T image tokens,
# V VQGAN codes, H height, W width

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_dalle.generation.given_images import squares
from keras_dalle.generation.integer_products import integer_product
from keras_dalle.generation.one_by_one import encode_function
from keras_dalle.generation.pixels import rgb_pictures
from keras_dalle.generation.traced import traced_functions
from keras_dalle.generation.weighted_prompts import prompt_faults
from keras_dalle.layers.narrow_weights import integer_products_by
from keras_dalle.utils.foreign_values import shortened
from keras_dalle.utils.plain_values import texts

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
    factors: tf.Tensor | None = None,
) -> tf.Tensor:
    """Natural logarithm of each image token's probability.

    Runs eagerly, inside a `tf.function` and in a SavedModel: no Python op, no XLA. All
    positions of a row are computed at once, and row by row, so that a row's result is
    the same bits in any batch.

    Args:
        backbone: a `DalleBartBackbone`.
        token_ids: int32 `[B, S]`, the prompts; or `[B, K, S]`, several texts a picture.
        padding_mask: int32 `[B, S]` or `[B, K, S]`, 1 for real tokens.
        image_tokens: int32 `[B, image_length]`, each in `[0, codebook_size)`.
        codebook_size: probabilities are over the tokens below it.
        factors: float32 `[B, K]` for `[B, K, S]`: the logits are the sum of the texts',
            each times its factor. Texts of factor 0 are not read.

    Returns:
        float32 `[B, image_length]`.
    """
    if factors is None:
        token_ids, padding_mask = token_ids[:, None], padding_mask[:, None]
        factors = tf.ones(tf.shape(token_ids)[:2])
    length = backbone.image_length
    image_tokens = tf.ensure_shape(image_tokens, [None, length])
    start_B1 = tf.fill([tf.shape(token_ids)[0], 1], backbone.decoder_start_token_id)
    seen_BT = tf.concat([start_B1, image_tokens[:, :-1]], axis=1)

    def row(inputs):
        ids_KS, mask_KS, factors_K, seen_T, chosen_T = inputs

        def logits_of_text(text):
            ids_S, mask_S = text
            with integer_products_by(integer_product):
                logits_1TV = backbone(
                    {
                        "encoder_token_ids": ids_S[None],
                        "encoder_padding_mask": mask_S[None],
                        "decoder_token_ids": seen_T[None],
                    }
                )["logits"]
            return tf.cast(logits_1TV[0, :, :codebook_size], tf.float32)

        is_read_K = factors_K != 0.0
        logits_KTV = tf.map_fn(
            logits_of_text,
            (tf.boolean_mask(ids_KS, is_read_K), tf.boolean_mask(mask_KS, is_read_K)),
            fn_output_signature=tf.TensorSpec([length, codebook_size], tf.float32),
        )
        factors_K11 = tf.boolean_mask(factors_K, is_read_K)[:, None, None]
        logits_TV = tf.reduce_sum(factors_K11 * logits_KTV, axis=0)
        return tf.gather(tf.nn.log_softmax(logits_TV), chosen_T, batch_dims=1)

    return tf.map_fn(
        row,
        (token_ids, padding_mask, factors, seen_BT, image_tokens),
        fn_output_signature=tf.TensorSpec([length], tf.float32),
    )


# === Scoring modes: (task, prompt [B], image_tokens [B, T]) -> float32 [B, T] ===


def _log_likelihood(task, prompt, image_tokens):
    """Given all parts of the prompts, as guidance of scale 1 combines them."""
    prompts = task.tokenized_prompts(prompt, tf.fill(tf.shape(prompt), ""))
    blank_factor_B1 = 1.0 - tf.reduce_sum(prompts.weights_BC, axis=1, keepdims=True)
    return token_log_likelihoods(
        task.backbone,
        _with(prompts.token_ids_BCS, prompts.negative_token_ids_BS),
        _with(prompts.padding_mask_BCS, prompts.negative_padding_mask_BS),
        image_tokens,
        codebook_size=task.vqgan.codebook_size,
        factors=tf.concat([prompts.weights_BC, blank_factor_B1], axis=1),
    )


def _with(x_BCS, blank_x_BS):
    return tf.concat([x_BCS, blank_x_BS[:, None]], axis=1)


def _pointwise_mutual_information(task, prompt, image_tokens):
    blank = task.preprocessor.negative_preprocess(tf.fill(tf.shape(prompt), ""))
    return _log_likelihood(task, prompt, image_tokens) - token_log_likelihoods(
        task.backbone,
        blank["encoder_token_ids"],
        blank["encoder_padding_mask"],
        image_tokens,
        codebook_size=task.vqgan.codebook_size,
    )


SCORING_MODES = {
    "log_likelihood": _log_likelihood,
    "pmi": _pointwise_mutual_information,
}


def check_scoring_mode(scoring_mode: str) -> None:
    """Raises `ValueError` unless there is such a mode."""
    if scoring_mode not in list(SCORING_MODES):
        raise ValueError(
            f"`scoring_mode` must be one of {', '.join(SCORING_MODES)}. Received: "
            f"{shortened(scoring_mode)}."
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


def _score_function_of(task, scoring_mode):
    """Made once a task and mode: one graph for every batch size."""
    functions = traced_functions(task)
    key = ("score", scoring_mode)
    if key not in functions:
        functions[key] = _make_score_function(task, scoring_mode)
    return functions[key]


def score_in_batches(
    task: Any, inputs: Mapping[str, Any], scoring_mode: str, per_token: bool
) -> np.ndarray:
    """What `DalleBartTextToImage.score` does, which describes it."""
    check_scoring_mode(scoring_mode)
    prompts_B, pictures = _rows_of(task, inputs)
    score_function = _score_function_of(task, scoring_mode)
    name = "per_token" if per_token else scoring_mode
    shape = (0, task.backbone.image_length) if per_token else (0,)
    scores = [np.zeros(shape, np.float32)]
    for rows in _batches(len(prompts_B)):
        tokens_BT = pictures[rows]
        if "images" in inputs:
            tokens_BT = encode_function(task.vqgan)(tokens_BT)
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
        pictures = checked_tokens(
            inputs["image_tokens"],
            task.backbone.image_length,
            task.vqgan.codebook_size,
        )
    prompts_B = texts("prompts", inputs["prompts"])
    if prompts_B.ndim and len(prompts_B) != len(pictures):
        raise ValueError(
            f"`prompts` must be one text, or one a picture (={len(pictures)}). "
            f"Received: {len(prompts_B)} prompts."
        )
    prompts_B = np.broadcast_to(prompts_B, [len(pictures)])
    for fault in prompt_faults(tf.constant(prompts_B, tf.string)).numpy():
        if fault:
            raise ValueError(fault.decode())
    return prompts_B, pictures


def _checked_images(images, size):
    pictures, is_one = rgb_pictures(images)
    if is_one:
        raise ValueError(
            "`images` must be a batch of pictures, or a list of them. Received: one "
            "picture. Give a list of it."
        )
    return squares(pictures, size)


def checked_tokens(image_tokens: Any, length: int, codebook_size: int) -> np.ndarray:
    """Image tokens as int32 [B, T]; raises `ValueError` unless they are such."""
    try:
        tokens_BT = np.asarray(image_tokens)
    except ValueError:
        tokens_BT = np.array(None)  # Rows of several lengths.
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
