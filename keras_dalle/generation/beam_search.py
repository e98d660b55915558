"""Beam search: one of the likeliest pictures for a prompt, without chance.

For evaluation. What is likeliest is seldom what looks best: drawing with noise is
`generate`, and its greedy form is `top_k=1`.
"""

# B prompts, K beams, R = B * K decoder rows, S text tokens, T image tokens, V VQGAN
# codes, N heads, L cache length, H head width (of images: H height, W width)

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from keras_dalle.generation.cache import cache_with_room, empty_cache, write_in_place
from keras_dalle.generation.one_by_one import decode_function
from keras_dalle.generation.prompt_inputs import text_rows
from keras_dalle.generation.prompt_notes import warn_of_prompts
from keras_dalle.generation.weighted_prompts import weighted_parts
from keras_dalle.layers.row_stable import KEYS_STEP, MAX_ROWS
from keras_dalle.utils.foreign_values import shortened
from keras_dalle.utils.plain_values import count


@dataclasses.dataclass(frozen=True)
class Beams:
    """The likeliest pictures that were found; without B where the prompt was one.

    Attributes:
        images: uint8 [B, H, W, 3].
        image_tokens: int32 [B, T].
        log_likelihoods: float32 [B], log p(picture | prompt) as `score` gives it.

    All beams are [B, K, ...], the likeliest first.
    """

    images: np.ndarray
    image_tokens: np.ndarray
    log_likelihoods: np.ndarray


def beam_search(
    text_to_image: Any, inputs: Any, num_beams: int = 5, return_all_beams: bool = False
) -> Beams:
    """Searches the likeliest picture of each prompt.

    At each image token the `num_beams` likeliest beginnings stay. One beam takes the
    likeliest token each time. Guidance, temperature, top-k and top-p have no part in
    it, as in `score`. A prompt's result depends on it alone.

    A token costs a pass of B * K decoder rows and a copy of the cache, in which each
    beam takes over its beginning's keys and values: 2 * layers * T * width numbers a
    beam, held twice (DALL·E mini in float32: 24 MiB, Mega: 96 MiB). At most 96 rows
    are searched at once.

    Args:
        text_to_image: a `DalleBartTextToImage`.
        inputs: a string or a list of strings.
        num_beams: K, at most 96.
        return_all_beams: bool. Whether all K pictures are returned, as KerasHub's
            `BeamSampler` names it. Where there are fewer than K pictures at all, those
            of log-likelihood -inf are none.

    Raises:
        ValueError: `num_beams` is out of range, `inputs` has another form, or the model
            has no VQGAN.
    """
    if count("num_beams", num_beams) > MAX_ROWS:
        raise ValueError(
            f"`num_beams` must be at most {MAX_ROWS}. Received: {num_beams}."
        )
    vqgan = text_to_image.require_vqgan("Beam search")
    rows, is_scalar = text_rows(inputs)
    prompts = rows["prompt"]
    text_BC = weighted_parts(tf.constant(prompts, tf.string)).texts_BC
    if isinstance(inputs, dict) or text_BC.shape[1] > 1:
        raise ValueError(
            "`inputs` of a beam search must be a string or a list of strings without "
            f"weighted parts, since it has no guidance. Received: {shortened(inputs)}."
        )
    warn_of_prompts(text_to_image.preprocessor, prompts)
    kept = num_beams if return_all_beams else 1
    length = text_to_image.backbone.image_length
    tokens = [np.zeros((0, kept, length), np.int32)]
    likelihoods = [np.zeros((0, kept), np.float32)]
    at_once = MAX_ROWS // num_beams
    for first in range(0, len(prompts), at_once):
        text = text_to_image.preprocessor.generate_preprocess(
            text_BC[first : first + at_once, 0]
        )
        tokens_BKT, likelihood_BK = search_image_tokens(
            text_to_image.backbone,
            text["encoder_token_ids"],
            text["encoder_padding_mask"],
            num_beams=num_beams,
            codebook_size=vqgan.codebook_size,
        )
        tokens.append(tokens_BKT[:, :kept])
        likelihoods.append(likelihood_BK[:, :kept])
    tokens_BKT = np.concatenate(tokens)
    images = decode_function(vqgan)(tokens_BKT.reshape(-1, length)).numpy()
    found = [
        images.reshape(len(prompts), kept, *images.shape[1:]),
        tokens_BKT,
        np.concatenate(likelihoods),
    ]
    if not return_all_beams:
        found = [x[:, 0] for x in found]
    return Beams(*(x[0] for x in found)) if is_scalar else Beams(*found)


def search_image_tokens(
    backbone: Any,
    token_ids_BS: tf.Tensor,
    padding_mask_BS: tf.Tensor,
    *,
    num_beams: int,
    codebook_size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The `num_beams` likeliest image tokens that are found, for at most 96 rows.

    Args:
        backbone: a `DalleBartBackbone`.
        token_ids_BS: int32, the prompts.
        padding_mask_BS: int32, 1 for real tokens.
        num_beams: K.
        codebook_size: probabilities are over the tokens below it.

    Returns:
        Tokens int32 `[B, K, T]` and their log-likelihoods float32 `[B, K]`, the
        likeliest first.
    """
    start, step = _functions_of(backbone, codebook_size)
    batch_size, length = len(token_ids_BS), backbone.image_length
    text = start(token_ids_BS, padding_mask_BS, tf.constant(num_beams))
    num_rows = batch_size * num_beams
    cache = empty_cache(backbone, tf.constant(num_rows))
    token_BK = tf.fill([batch_size, num_beams], backbone.decoder_start_token_id)
    parent_BK = tf.tile(tf.range(num_beams)[None], [batch_size, 1])
    # All beams begin alike: one of them counts.
    likelihood_BK = tf.where(parent_BK == 0, 0.0, float("-inf"))
    tokens, parents = [], []
    for position in range(length):
        if position % KEYS_STEP == 0:
            longer = tf.constant(min(position + KEYS_STEP, length))
            cache = cache_with_room(backbone, cache, longer)
        likelihood_BK, token_BK, parent_BK, cache = step(
            text, tf.constant(position), likelihood_BK, token_BK, parent_BK, cache
        )
        tokens.append(token_BK.numpy())
        parents.append(parent_BK.numpy())
    return _traced_back(tokens, parents), likelihood_BK.numpy()


def _traced_back(tokens, parents):
    """Tokens [B, K, T] of the last beams, from each position's tokens and parents."""
    beam_BK = np.broadcast_to(np.arange(tokens[0].shape[1]), tokens[0].shape)
    found = []
    for token_BK, parent_BK in zip(reversed(tokens), reversed(parents), strict=True):
        found.append(np.take_along_axis(token_BK, beam_BK, axis=1))
        beam_BK = np.take_along_axis(parent_BK, beam_BK, axis=1)
    return np.stack(found[::-1], axis=-1)


def _functions_of(backbone, codebook_size):
    """The functions of a search, made once a backbone."""
    # Past Keras's `__setattr__`, which would track them as a model's part.
    functions = backbone.__dict__.setdefault("_beam_search_functions", {})
    if codebook_size not in functions:
        functions[codebook_size] = _make_functions(backbone, codebook_size)
    return functions[codebook_size]


def _make_functions(backbone, codebook_size):
    def read(token_ids_BS, padding_mask_BS, num_beams):
        states_BSD = backbone.encode(token_ids_BS, padding_mask_BS, row_stable=True)
        cross_cache = [
            (tf.repeat(keys, num_beams, axis=0), tf.repeat(values, num_beams, axis=0))
            for keys, values in backbone.cross_attention_cache(states_BSD)
        ]
        return cross_cache, tf.repeat(padding_mask_BS, num_beams, axis=0)

    def step(text, position, likelihood_BK, token_BK, parent_BK, cache):
        """The next tokens, and their beams' parents, from `parent_BK` of the last."""
        batch_size, num_beams = tf.unstack(tf.shape(token_BK))
        row_BK = tf.range(batch_size)[:, None] * num_beams + parent_BK
        row_R = tf.reshape(row_BK, [-1])
        cross_cache, padding_mask_RS = text
        # A copy, so that `write_in_place` writes into memory of its own.
        cache = [(tf.gather(k, row_R), tf.gather(v, row_R)) for k, v in cache]
        logits_R1V, cache = backbone.decode_step(
            tf.reshape(token_BK, [-1, 1]),
            tf.fill([batch_size * num_beams, 1], position),
            cache,
            cross_cache,
            padding_mask_RS,
            write=write_in_place,
        )
        logits_RV = tf.cast(logits_R1V[:, 0, :codebook_size], tf.float32)
        gain_BKV = tf.reshape(
            _log_softmax(logits_RV), [batch_size, num_beams, codebook_size]
        )
        total_BKV = likelihood_BK[..., None] + gain_BKV
        likelihood_BK, place_BK = tf.math.top_k(
            tf.reshape(total_BKV, [batch_size, num_beams * codebook_size]), k=num_beams
        )
        return (
            likelihood_BK,
            place_BK % codebook_size,
            place_BK // codebook_size,
            cache,
        )

    # One graph for all batches: one that knows its batch has other last bits.
    text = tf.TensorSpec([None, None], tf.int32)
    scalar = tf.TensorSpec([], tf.int32)
    start = tf.function(read, input_signature=[text, text, scalar], autograph=False)
    beams = [tf.TensorSpec([None, None], x) for x in (tf.float32, tf.int32, tf.int32)]
    given = (
        start.get_concrete_function().structured_outputs,
        empty_cache(backbone, tf.constant(0)),
    )
    read_text, cache = tf.nest.map_structure(_spec, given)
    signature = [read_text, scalar, *beams, cache]
    return start, tf.function(step, input_signature=signature, autograph=False)


def _spec(x):
    """Of any such tensor, of any number of rows, and of keys in caches."""
    shape = x.shape.as_list()
    varying = (0, 2) if len(shape) == 4 else (0, 1)
    return tf.TensorSpec(
        [None if axis in varying else size for axis, size in enumerate(shape)], x.dtype
    )


def _log_softmax(logits_RV):
    """Log-probabilities of a row that are the same bits among any other rows."""
    shifted_RV = logits_RV - tf.reduce_max(logits_RV, axis=1, keepdims=True)
    total_R1 = tf.reduce_sum(tf.exp(shifted_RV), axis=1, keepdims=True)
    # The logarithm of whole registers of one number: the last elements of an array,
    # whose number depends on R, take another way.
    return shifted_RV - tf.math.log(tf.repeat(total_R1, 16, axis=1))[:, :1]
