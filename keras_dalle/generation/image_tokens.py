"""Pictures to image tokens and back, by a task's VQGAN."""

# B pictures, T image tokens, H height, W width

from typing import Any

import numpy as np

from keras_dalle.generation.given_images import squares
from keras_dalle.generation.one_by_one import decode_function, encode_function
from keras_dalle.generation.pixels import rgb_pictures
from keras_dalle.generation.scoring import checked_tokens


def encode_images(task: Any, images: Any) -> np.ndarray:
    """What `DalleBartTextToImage.encode_images` does, which describes it."""
    vqgan = task.require_vqgan("Encoding images")
    size = vqgan.image_size
    pictures, is_one = rgb_pictures(images)
    tokens_BT = encode_function(vqgan)(squares(pictures, size)).numpy()
    return tokens_BT[0] if is_one else tokens_BT


def decode_tokens(task: Any, image_tokens: Any) -> np.ndarray:
    """What `DalleBartTextToImage.decode_tokens` does, which describes it."""
    vqgan = task.require_vqgan("Decoding tokens")
    try:
        tokens = np.asarray(image_tokens)
    except ValueError:
        tokens = np.array(None)  # Rows of several lengths.
    is_one = tokens.ndim == 1
    tokens_BT = checked_tokens(
        tokens[None] if is_one else tokens,
        task.backbone.image_length,
        vqgan.codebook_size,
    )
    images_BHWC = decode_function(vqgan)(tokens_BT).numpy()
    return images_BHWC[0] if is_one else images_BHWC
