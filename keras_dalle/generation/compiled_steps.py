"""The decoder's step compiled by XLA, for an export that is asked for it.

XLA fuses what lies between the matrix products. It compiles a step anew for each
number of rows, positions and keys that it meets: for each batch size that a server
allows, each window and each 64 tokens. The rest stays as it is, the draw of tokens
above all, so the noise is the same; logits may differ in their last bits.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar

import tensorflow as tf

from keras_dalle.generation.cache import write_in_place
from keras_dalle.generation.integer_products import integer_product_of_few_rows
from keras_dalle.layers.narrow_weights import integer_products_by

_is_on: ContextVar[bool] = ContextVar("compiled_steps", default=False)


@contextlib.contextmanager
def compiled_steps() -> Iterator[None]:
    """Graphs that are traced in this block have steps that XLA compiles."""
    token = _is_on.set(True)
    try:
        yield
    finally:
        _is_on.reset(token)


def decode_step_of(backbone) -> Callable:
    """`backbone.decode_step` for the graph that is being traced.

    XLA knows no operation that writes in place, and writes into copies. Nor has it
    oneDNN's product of integers.
    """
    if not _is_on.get():
        return functools.partial(_step, backbone)
    return tf.function(backbone.decode_step, jit_compile=True, autograph=False)


def _step(backbone, *arguments):
    with integer_products_by(integer_product_of_few_rows):
        return backbone.decode_step(*arguments, write=write_in_place)
