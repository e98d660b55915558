"""Rows for any signature, by the names of inputs and outputs."""

import numpy as np
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from keras_dalle.saved_model.sample_rows import sample_rows


def signature(inputs=(), outputs=()):
    made = meta_graph_pb2.SignatureDef()
    for alias, dtype in inputs:
        made.inputs[alias].dtype = dtype
    for alias, dtype, shape in outputs:
        made.outputs[alias].dtype = dtype
        for size in (-1, *shape):
            made.outputs[alias].tensor_shape.dim.add(size=size)
    return made


@pytest.mark.parametrize("order", [1, -1])
def test_tokens_are_those_of_pictures_and_not_of_texts(order):
    signatures = {
        "tokenize": signature(outputs=[("token_ids", types_pb2.DT_INT32, [7])]),
        "generate": signature(outputs=[("image_tokens", types_pb2.DT_INT32, [16])]),
        "score": signature(inputs=[("image_tokens_bytes", types_pb2.DT_STRING)]),
    }
    signatures = dict(list(signatures.items())[::order])
    packed_B = sample_rows("score", signatures, 2)["image_tokens_bytes"]
    assert [np.frombuffer(row, "<i4").shape for row in packed_B] == [(16,), (16,)]
