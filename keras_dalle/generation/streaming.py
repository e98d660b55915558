"""Pictures while they are drawn."""

# B pictures, T image tokens, G tokens along a side, H height, W width

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from keras_dalle.generation.decoding import ImageTokenDecoder, Known
from keras_dalle.generation.one_by_one import decode_function
from keras_dalle.generation.parameters import PARAMETERS
from keras_dalle.generation.traced import traced_functions
from keras_dalle.layers.row_stable import MAX_ROWS
from keras_dalle.utils.plain_values import count


def continued(tokens_BT: tf.Tensor, position_B: tf.Tensor) -> tf.Tensor:
    """Tokens of which those from `position_B` on continue what is above them.

    Args:
        tokens_BT: int32, T a square number.
        position_B: int32, how many are final.

    Returns:
        int32 [B, T]; within the first row of tokens the last one is repeated.
    """
    length = tokens_BT.shape[1]
    side = int(length**0.5)
    index_T = tf.range(length)
    beyond_BT = tf.maximum(index_T - position_B[:, None] + 1, 0)
    source_BT = index_T - -(-beyond_BT // side) * side
    last_B1 = tf.maximum(position_B[:, None] - 1, 0)
    source_BT = tf.where(source_BT < 0, last_B1, source_BT)
    return tf.gather(tokens_BT, source_BT, batch_dims=1)


def stream_images(
    task: Any, rows: dict[str, Any], every: int | None = None
) -> Iterator[np.ndarray]:
    """What `DalleBartTextToImage.generate_stream` does, which describes it."""
    length = task.backbone.image_length
    every = max(length // 4, 1) if every is None else count("every", every)
    start, advance = stream_functions(task)
    decode = decode_function(task.vqgan)
    parameters = {p.name: tf.constant(rows[p.name]) for p in PARAMETERS}
    known = Known(tf.constant(rows["known_tokens"]), tf.constant(rows["known_mask"]))
    conditioning, state = start(rows["prompt"], rows["negative_prompt"], known)
    num_rows = len(conditioning.padding_mask_RS)
    if num_rows > MAX_ROWS:
        raise ValueError(
            f"At most {MAX_ROWS} decoder rows are drawn in one stream: of each prompt, "
            "one for each part that any has, and one for the negative prompt. "
            f"Received: {num_rows}. Draw the prompts in parts."
        )
    for until in [*range(every, length, every), length]:
        state = advance(conditioning, state, parameters, tf.constant(until))
        tokens_BT = continued(state.sequence_BL[:, 1:], state.position_B)
        yield decode(tokens_BT).numpy()


def stream_functions(task):
    """The graphs of a stream, made once a task: start and advance."""
    functions = traced_functions(task)
    if "stream" not in functions:
        functions["stream"] = _make_functions(task)
    return functions["stream"]


def _make_functions(task):
    decoder = ImageTokenDecoder(task.backbone, task.vqgan.codebook_size)
    text = tf.TensorSpec([None], tf.string)
    tokens = tf.TensorSpec([None, decoder.length], tf.int32)
    known = Known(tokens, tf.TensorSpec(tokens.shape, tf.bool))
    parameters = {p.name: tf.TensorSpec([None], p.dtype) for p in PARAMETERS}

    def read(prompt, negative_prompt, known):
        return decoder.start(task.tokenized_prompts(prompt, negative_prompt), known)

    # Traced once each: a graph takes seconds, and every batch size and length of the
    # cache would be one. Called as concrete functions, which costs half as much a
    # call: a pass of a small model is not much longer.
    start = tf.function(read, autograph=False).get_concrete_function(text, text, known)
    started = tf.nest.map_structure(_spec, start.structured_outputs)
    advance = tf.function(decoder.advance, autograph=False).get_concrete_function(
        *started, parameters, tf.TensorSpec([], tf.int32)
    )
    return start, advance


def _spec(x: tf.Tensor) -> tf.TensorSpec:
    """Of any such tensor: caches [R, N, L, H] grow."""
    shape = x.shape.as_list()
    if len(shape) == 4:
        shape[2] = None
    return tf.TensorSpec(shape, x.dtype)
