"""Autoregressive generation of image tokens, several positions a pass.

The noise of a token is a function of seed, position and token alone. So a guess can be
checked: given guesses of the next W tokens, one pass of the decoder draws the token
behind each. As far as the guesses are what was drawn, all of it is what one-by-one
generation draws; what was drawn behind the first wrong guess is the next pass's guess
(Jacobi decoding, https://arxiv.org/abs/2305.10427, with noise that is fixed). A pass of
few rows takes as long as reading the decoder's weights, so the guesses are nearly free.
Tokens that are known from the start are right guesses.
"""

# B pictures, R decoder rows, W positions of a pass, T image tokens, V vocabulary,
# L = T + 1

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from keras_dalle.generation.cache import (
    Cache,
    cache_with_room,
    empty_cache,
)
from keras_dalle.generation.compiled_steps import decode_step_of
from keras_dalle.generation.conditioning import (
    Conditioning,
    Prompts,
    encode_prompts,
    guide,
    repeat_for_prompts,
)
from keras_dalle.generation.end_token import EndToken
from keras_dalle.generation.integer_products import integer_product
from keras_dalle.generation.sampling import sample
from keras_dalle.layers.narrow_weights import integer_products_by
from keras_dalle.layers.row_stable import KEYS_STEP, MAX_ROWS

# Passes have 16 rows at least (`RowMatrix`); guesses fill them.
_ROWS_WITH_GUESSES = 16
_MAX_WINDOW = 8


class Known(NamedTuple):
    """Tokens that are given, such as the kept part of a picture.

    Attributes:
        tokens_BT: int32, read where the mask is true.
        mask_BT: bool.
    """

    tokens_BT: tf.Tensor
    mask_BT: tf.Tensor


class DecodingState(NamedTuple):
    """Where the decoding of each picture is.

    Attributes:
        position_B: int32, how many tokens are final.
        sequence_BL: int32: the start token, the final tokens, guesses.
        mask_BT: bool, the tokens that were given.
        cache: keys and values of the final tokens, and of guesses.
    """

    position_B: tf.Tensor
    sequence_BL: tf.Tensor
    mask_BT: tf.Tensor
    cache: Cache


class ImageTokenDecoder:
    """Draws image tokens of a batch, in one go or piece by piece.

    Runs eagerly, inside a `tf.function` and in a SavedModel: no Python op, and no XLA
    but within `compiled_steps`. A row's tokens depend on its own inputs alone, bit for
    bit, as far as `keras_dalle.layers.row_stable` reaches: for at most 96 decoder rows,
    48 pictures of one prompt.

    Args:
        backbone: a `DalleBartBackbone`.
        codebook_size: only tokens below it are drawn.
        end_token: ends rows early, as the original does; `None` for whole pictures.
        window: positions of a pass; `None` chooses by the number of rows.
    """

    def __init__(
        self,
        backbone,
        codebook_size: int,
        end_token: EndToken | None = None,
        window: int | None = None,
    ):
        self.backbone = backbone
        self.codebook_size = codebook_size
        self.end_token = end_token
        self.window = window
        self.length = backbone.image_length

    def start(
        self, prompts: Prompts, known: Known | None = None
    ) -> tuple[Conditioning, DecodingState]:
        """Reads the prompts; what is given of a picture is known."""
        batch_size = tf.shape(prompts.weights_BC)[0]
        if known is None:
            tokens_BT = tf.zeros([batch_size, self.length], tf.int32)
            mask_BT = tf.zeros([batch_size, self.length], tf.bool)
        else:
            mask_BT = known.mask_BT
            tokens_BT = tf.where(mask_BT, known.tokens_BT, 0)
        start_B1 = tf.fill([batch_size, 1], self.backbone.decoder_start_token_id)
        with integer_products_by(integer_product):
            conditioning = encode_prompts(self.backbone, prompts)
        state = DecodingState(
            tf.zeros([batch_size], tf.int32),
            tf.concat([start_B1, tokens_BT], axis=1),
            mask_BT,
            empty_cache(self.backbone, tf.shape(conditioning.padding_mask_RS)[0]),
        )
        return conditioning, state

    def advance(
        self,
        conditioning: Conditioning,
        state: DecodingState,
        parameters: Mapping[str, tf.Tensor],
        until: tf.Tensor | int,
    ) -> DecodingState:
        """Goes on until every picture has at least `until` final tokens.

        Args:
            conditioning: of `start`.
            state: of `start` or `advance`; its cache is overwritten.
            parameters: `[B]` by name, see `keras_dalle.generation.parameters`.
            until: int32, for all or `[B]`, at most the image length.
        """

        def unfinished(state):
            return tf.reduce_any(state.position_B < until)

        def take_pass(state):
            length = self._cache_length(state, conditioning)
            cache = cache_with_room(self.backbone, state.cache, length)
            state = state._replace(cache=cache)
            return (self._pass(conditioning, state, parameters),)

        # One loop: to enter one is as much as half a pass of a small model, and a
        # stream does so for every picture that it shows.
        (state,) = tf.while_loop(
            unfinished, take_pass, (state,), shape_invariants=(self._shapes(state),)
        )
        return state

    def tokens(self, state: DecodingState) -> tf.Tensor:
        """The tokens, int32 `[B, T]`; behind `position_B` they are guesses."""
        tokens_BT = tf.ensure_shape(state.sequence_BL[:, 1:], [None, self.length])
        return tokens_BT if self.end_token is None else self.end_token.pad(tokens_BT)

    def _shapes(self, state):
        """The shapes that a growing cache keeps."""

        def shape(x):
            if x.shape.rank == 4:
                return tf.TensorShape([None, x.shape[1], None, x.shape[3]])
            return tf.TensorShape([None, *x.shape[1:]])

        return tf.nest.map_structure(shape, state)

    def _pass(self, conditioning, state, parameters):
        """One pass of the decoder over the next positions of each picture."""
        width = self._width(state, conditioning)
        positions_BW = _starts(state, width)[:, None] + tf.range(width)
        logits_BWV, cache = self._logits(conditioning, state, parameters, positions_BW)
        guesses_BW = tf.gather(state.sequence_BL, positions_BW + 1, batch_dims=1)
        is_final_BW = tf.gather(state.mask_BT, positions_BW, batch_dims=1)
        is_final_BW |= positions_BW < state.position_B[:, None]
        drawn_BW = self._sample(logits_BWV, parameters, positions_BW)
        drawn_BW = tf.where(is_final_BW, guesses_BW, drawn_BW)
        agrees_BW = tf.cast(drawn_BW == guesses_BW, tf.int32)
        accepted_B = 1 + tf.reduce_sum(tf.math.cumprod(agrees_BW[:, :-1], axis=1), 1)
        rows_BW = tf.zeros_like(positions_BW) + tf.range(tf.shape(drawn_BW)[0])[:, None]
        places_BW2 = tf.stack([rows_BW, positions_BW + 1], axis=2)
        return DecodingState(
            positions_BW[:, 0] + accepted_B,
            tf.tensor_scatter_nd_update(state.sequence_BL, places_BW2, drawn_BW),
            state.mask_BT,
            cache,
        )

    def _logits(self, conditioning, state, parameters, positions_BW):
        """Guided logits `[B, W, V]` of the tokens at some positions."""
        inputs_BW = tf.gather(state.sequence_BL, positions_BW, batch_dims=1)
        logits_RWV, cache = decode_step_of(self.backbone)(
            repeat_for_prompts(inputs_BW, conditioning.weights_BC),
            repeat_for_prompts(positions_BW, conditioning.weights_BC),
            state.cache,
            conditioning.cross_cache,
            conditioning.padding_mask_RS,
        )
        logits_RWV = tf.cast(logits_RWV[:, :, : self.codebook_size], tf.float32)
        scale_BW = _guidance_scale(parameters, positions_BW, self.length)
        logits_BWV = guide(logits_RWV, conditioning.weights_BC, scale_BW)
        if self.end_token is not None:
            logits_BWV = self.end_token.forbid(logits_BWV, positions_BW)
        return logits_BWV, cache

    def _sample(self, logits_BWV, parameters, positions_BW):
        """One token a position, all drawn as rows of their own."""
        width = tf.shape(positions_BW)[1]
        drawn = sample(
            tf.reshape(logits_BWV, [-1, self.codebook_size]),
            position=tf.reshape(positions_BW, [-1]),
            **{
                name: tf.repeat(parameters[name], width)
                for name in ("seed", "temperature", "top_k", "top_p")
            },
        )
        return tf.reshape(drawn, tf.shape(positions_BW))

    def _width(self, state, conditioning):
        """Positions of the next pass, W: all that are known, or a few guesses."""
        num_rows = tf.maximum(tf.shape(conditioning.padding_mask_RS)[0], 1)
        if self.window is None:
            window = tf.clip_by_value(_ROWS_WITH_GUESSES // num_rows, 1, _MAX_WINDOW)
        else:
            window = tf.constant(self.window)
        length = self.length
        is_open_BT = ~state.mask_BT & (tf.range(length) >= state.position_B[:, None])
        next_open_B = tf.reduce_min(tf.where(is_open_BT, tf.range(length), length), 1)
        # Pictures that are complete hold up no other.
        known_B = next_open_B - state.position_B
        known_B = tf.where(state.position_B < length, known_B, length)
        known = tf.reduce_min(tf.concat([known_B, [length]], axis=0))
        known = tf.minimum(known + 1, tf.maximum(MAX_ROWS // num_rows, 1))
        return tf.minimum(tf.maximum(window, known), length)

    def _cache_length(self, state, conditioning):
        """The length of cache that the next pass needs, in steps."""
        width = self._width(state, conditioning)
        needed = tf.reduce_max(tf.concat([_starts(state, width), [0]], 0)) + width
        steps = -(-needed // KEYS_STEP)
        return tf.minimum(steps * KEYS_STEP, self.length)


def _starts(state, width):
    """The first position of the next pass: it ends within the picture."""
    length = tf.shape(state.mask_BT)[1]
    return tf.minimum(state.position_B, length - width)


def _guidance_scale(parameters, positions_BW, length):
    """Guidance scales `[B, W]`: from the first to the last along a line."""
    first_B1 = parameters["guidance_scale"][:, None]
    last_B1 = parameters["guidance_scale_end"][:, None]
    last_B1 = tf.where(last_B1 < 0.0, first_B1, last_B1)
    progress_BW = tf.cast(positions_BW, tf.float32) / float(max(length - 1, 1))
    return first_B1 + (last_B1 - first_B1) * progress_BW


# AutoGraph would convert every layer below, to no effect: most of a graph's tracing.
@tf.autograph.experimental.do_not_convert
def generate_image_tokens(
    backbone,
    prompts: Prompts,
    parameters: Mapping[str, tf.Tensor],
    *,
    codebook_size: int,
    known: Known | None = None,
    end_token: EndToken | None = None,
    window: int | None = None,
    until: tf.Tensor | None = None,
) -> tf.Tensor:
    """Draws all image tokens of a batch of prompts.

    Args:
        backbone: a `DalleBartBackbone`.
        prompts: what leads each picture.
        parameters: `[B]` by name, see `keras_dalle.generation.parameters`.
        codebook_size: only tokens below it are drawn.
        known: tokens that are given, or `None`.
        end_token: ends rows early, as the original does; `None` for whole pictures.
        window: positions of a pass; `None` chooses by the number of rows. It changes no
            token.
        until: int32 `[B]`, how many tokens of each row are wanted; `None` for all. What
            is behind them are guesses.

    Returns:
        int32 `[B, image_length]`.
    """
    decoder = ImageTokenDecoder(backbone, codebook_size, end_token, window)
    batch_size, num_prompts = tf.unstack(tf.shape(prompts.weights_BC))
    block_size = MAX_ROWS // (num_prompts + 1)
    num_blocks = tf.maximum(-(-batch_size // block_size), 1)
    if until is None:
        until = tf.fill([batch_size], decoder.length)

    def draw_block(block, tokens):
        first = block * block_size

        def rows(inputs):
            return tf.nest.map_structure(
                lambda x: tf.convert_to_tensor(x)[first : first + block_size], inputs
            )

        conditioning, state = decoder.start(
            rows(prompts), None if known is None else rows(known)
        )
        state = decoder.advance(
            conditioning, state, rows(dict(parameters)), rows(until)
        )
        return block + 1, tokens.write(block, decoder.tokens(state))

    tokens = tf.TensorArray(
        tf.int32, num_blocks, infer_shape=False, element_shape=[None, decoder.length]
    )
    _, tokens = tf.while_loop(
        lambda block, _: block < num_blocks, draw_block, (0, tokens)
    )
    return tf.ensure_shape(tokens.concat(), [None, decoder.length])
