import pytest
import tensorflow as tf

from keras_dalle.text.packing import pack_prompts


def pack(rows, max_length):
    ids = tf.ragged.constant(rows, tf.int32, ragged_rank=1)
    packed = pack_prompts(ids, max_length, start_id=0, end_id=2, pad_id=1)
    assert all(x.dtype == tf.int32 for x in packed)
    return [x.numpy().tolist() for x in packed]


def test_pads_short_prompts_and_keeps_the_end_of_cut_ones():
    ids, mask = pack([[7], [], [5, 6, 7], [5, 6, 7, 8, 9]], 5)
    assert ids == [
        [0, 7, 2, 1, 1],
        [0, 2, 1, 1, 1],
        [0, 5, 6, 7, 2],
        [0, 5, 6, 7, 2],
    ]
    assert mask == [[1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [1] * 5, [1] * 5]


def test_a_pad_token_within_a_prompt_is_not_masked():
    assert pack([[1, 7]], 5) == [[[0, 1, 7, 2, 1]], [[1, 1, 1, 1, 0]]]


def test_static_length_and_empty_batch():
    ids, mask = pack([], 4)
    assert ids == mask == []

    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.int32)])
    def packed(ids):
        return pack_prompts(ids, 6, 0, 2, 1)

    shapes = [x.shape.as_list() for x in packed.get_concrete_function().outputs]
    assert shapes == [[None, 6], [None, 6]]


def test_no_room_for_start_and_end():
    with pytest.raises(ValueError, match="at least 2.*max_length=1"):
        pack([[5]], 1)
