"""Pictures as files, blank where a row is faulty."""

# B batch, H height, W width

import tensorflow as tf

from keras_dalle.saved_model.signatures.row_function import where_good

WHITE = 255


def blank_where_faulty(images_BHWC: tf.Tensor, error_B: tf.Tensor) -> tf.Tensor:
    """White pictures in rows that have an error."""
    return where_good(error_B, images_BHWC, WHITE)


def png_rows(images_BHWC: tf.Tensor, error_B: tf.Tensor) -> tf.Tensor:
    """uint8 [B, H, W, 3] to PNG strings [B], white ones in rows that have an error."""
    return tf.map_fn(
        tf.io.encode_png,
        blank_where_faulty(images_BHWC, error_B),
        fn_output_signature=tf.TensorSpec([], tf.string),
    )
