"""All signatures of the exported model around one copy of its weights."""

from typing import Any

import tensorflow as tf

from keras_dalle.saved_model.signatures.chunks import decode_chunk
from keras_dalle.saved_model.signatures.completion import complete_image
from keras_dalle.saved_model.signatures.drawing import generate, serving_default
from keras_dalle.saved_model.signatures.pictures import decode_tokens, encode_image
from keras_dalle.saved_model.signatures.scoring import score
from keras_dalle.saved_model.signatures.shared_graphs import SharedGraphs
from keras_dalle.saved_model.signatures.tokenizing import tokenize

# What each signature needs of a task beside `generate_rows`.
_DRAWING = (serving_default, generate)
_WITH_PARTS = (tokenize, decode_tokens, decode_chunk, score)
_WITH_ENCODER = (encode_image, complete_image)


class ServingModule(tf.Module):
    """Signatures around a text-to-image task, with the variables that they read.

    docs/serving.md describes each. Every input has shape [B] and, but for those that
    say what is asked, a default of shape [1], for requests of one row. A faulty row
    has a text in the output `error` [B]; its neighbours are as they would be without
    it.

    Args:
        task: A `DalleBartTextToImage`, or for `serving_default` and `generate` alone
            an object with `generate_rows(prompt, negative_prompt, known,
            **parameters)`, `generation_defaults` and `backbone.image_length`. A task
            whose VQGAN is a decoder alone has no signature that reads pictures.
    """

    def __init__(self, task: Any):
        super().__init__(name="keras_dalle")
        graphs = SharedGraphs(task)
        self.functions = {
            builder.__name__: builder(graphs) for builder in _builders(task)
        }
        concrete = [f.get_concrete_function() for f in self.functions.values()]
        # Only what a signature reads is exported: no optimizer, no training parts.
        weights = {v.ref(): v for function in concrete for v in function.variables}
        self.weights = list(weights.values())
        self.tables = _captured_tables(task, concrete)

    @property
    def signatures(self) -> dict[str, Any]:
        """The functions to export, by signature name."""
        return dict(self.functions)


def _builders(task):
    vqgan = getattr(task, "vqgan", None)
    if vqgan is None:
        return _DRAWING
    if vqgan.quantizer_kind is None:
        return (*_DRAWING, *_WITH_PARTS)
    return (*_DRAWING, *_WITH_PARTS, *_WITH_ENCODER)


def _captured_tables(task: Any, functions: list[Any]) -> list[Any]:
    """Lookup tables below `task` that functions read (saving must track them)."""
    captured = {id(x) for function in functions for x in function.captured_inputs}
    return [
        node
        for node in tf.train.TrackableView(task).descendants()
        if id(getattr(node, "resource_handle", None)) in captured
    ]
