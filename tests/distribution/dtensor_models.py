"""Small models and batches of DTensor's tests, and the devices they run on."""

import keras
import numpy as np
import tensorflow as tf

from keras_dalle.models import DalleBartBackbone, DalleBartTextToImage

NUM_DEVICES = 8


def use_virtual_cpus():
    """Splits the CPU, before TensorFlow starts."""
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * NUM_DEVICES,
    )
    # It takes half of the compilation's time and changes no result.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def make_task(dtype=None, **kwargs):
    """A task of the same weights each time."""
    keras.utils.set_random_seed(0)
    sizes = {
        "vocabulary_size": 48,
        "image_vocabulary_size": 63,
        "num_encoder_layers": 1,
        "num_decoder_layers": 1,
        "num_heads": 8,
        "hidden_dim": 32,
        "encoder_intermediate_dim": 48,
        "decoder_intermediate_dim": 48,
        "max_text_length": 8,
        "image_length": 16,
    }
    return DalleBartTextToImage(DalleBartBackbone(**{**sizes, **kwargs}, dtype=dtype))


def make_examples(rows=8):
    """Inputs and targets of the task."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 9, (rows, 1))
    image_tokens = rng.integers(0, 63, (rows, 16)).astype("int32")
    examples = {
        "encoder_token_ids": rng.integers(3, 48, (rows, 8)).astype("int32"),
        "encoder_padding_mask": (np.arange(8) < lengths).astype("int32"),
        "image_tokens": image_tokens,
    }
    return examples, image_tokens
