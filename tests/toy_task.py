"""A stand-in for `DalleBartTextToImage` in tests of export and serving.

Its pictures are of one colour, a function of the row's inputs alone, and drawn in
milliseconds. The prompt "slow" keeps the whole call busy for minutes.
"""

from types import SimpleNamespace

import tensorflow as tf

from keras_dalle.generation.parameters import defaults_of
from keras_dalle.saved_model.exporter import export_saved_model

IMAGE_SIZE = 4
IMAGE_LENGTH = 6


class ToyTask(tf.Module):
    """`generate_rows` over one weight, one table and one untracked-by-use weight."""

    def __init__(self):
        super().__init__()
        self.backbone = SimpleNamespace(image_length=IMAGE_LENGTH)
        self.weight = tf.Variable([1.0, 2.0, 3.0])
        self.generation_defaults = defaults_of(None)
        self.unused = tf.Variable(tf.zeros([1000]))
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(["red"], tf.constant([200], tf.int64)),
            default_value=100,
        )

    def get_config(self):
        return {}

    def generate_rows(self, prompt, negative_prompt, known=None, **parameters):
        numbers = map(tf.strings.as_string, parameters.values())
        texts = [prompt, negative_prompt, *numbers]
        hash_B = tf.strings.to_hash_bucket_fast(
            tf.strings.join(texts, separator="|"), 50
        )
        red_B = self.table.lookup(prompt) + busy_loop(prompt)
        blue_B = tf.cast(self.weight[2], tf.int64) * tf.ones_like(hash_B)
        colour_BC = tf.cast(tf.stack([red_B, hash_B, blue_B], axis=-1), tf.uint8)
        images_BHWC = tf.tile(
            colour_BC[:, tf.newaxis, tf.newaxis], [1, IMAGE_SIZE, IMAGE_SIZE, 1]
        )
        tokens_BT = tf.tile(tf.cast(hash_B, tf.int32)[:, None], [1, IMAGE_LENGTH])
        return {"images": images_BHWC, "image_tokens": tokens_BT}


def busy_loop(prompt_B):
    """0, after a very long loop where a prompt is "slow"."""
    is_slow = tf.reduce_any(prompt_B == "slow")
    steps = tf.where(is_slow, tf.constant(10**9, tf.int64), 0)
    step = tf.while_loop(
        lambda step: step < steps, lambda step: (step + 1,), [tf.constant(0, tf.int64)]
    )[0]
    return step - steps


def export_toy(directory, version=None):
    """Exports a toy into `directory` and returns the version's folder."""
    return export_saved_model(ToyTask(), directory, version)
