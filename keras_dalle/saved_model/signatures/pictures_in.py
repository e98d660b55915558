"""Pictures from outside: files of any size, some of them no pictures."""

# B batch, S height and width of the model's pictures, H height, W width

import tensorflow as tf

from keras_dalle.generation.resizing import middle_square, resize
from keras_dalle.saved_model.signatures import picture_files as files
from keras_dalle.saved_model.signatures.fallible import map_fallible
from keras_dalle.saved_model.signatures.row_function import Input

IMAGE = Input("image_bytes", tf.string)


def read_pictures(
    file_B: tf.Tensor, size: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Decodes files, crops their middle square and resizes it, as `generate` does.

    Args:
        file_B: string: PNG or JPEG, or the S * S * 3 bytes of RGB themselves.
        size: S.

    Returns:
        uint8 [B, S, S, 3], black where a row is faulty; texts [B], empty for good rows;
        and int32 [B, 2], the height and width of each picture before it is resized.
    """
    raw_bytes = size * size * 3
    is_file_B = files.is_png(file_B) | files.is_jpeg(file_B)
    is_raw_B = ~is_file_B & (tf.strings.length(file_B) == raw_bytes)
    specs = (tf.TensorSpec([size, size, 3], tf.uint8), tf.TensorSpec([2], tf.int32))
    is_whole_B, (images, height_width_B2) = map_fallible(
        lambda file: _read_file(file, size), tf.where(is_file_B, file_B, ""), specs
    )
    raw_images = tf.io.decode_raw(
        tf.where(is_raw_B, file_B, ""), tf.uint8, fixed_length=raw_bytes
    )
    raw_images = tf.reshape(raw_images, [-1, size, size, 3])
    images = tf.where(is_raw_B[:, None, None, None], raw_images, images)

    error_B = files.describe_faults(
        IMAGE.name,
        f"a PNG or JPEG file, or {raw_bytes} bytes of RGB",
        file_B,
        is_file_B=is_file_B,
        is_raw_B=is_raw_B,
        is_whole_B=is_whole_B,
        height_width_B2=height_width_B2,
    )
    sizes_B2 = tf.where(is_raw_B[:, None], size, height_width_B2)
    return images, error_B, sizes_B2


def _read_file(file, size):
    is_png = files.is_png(file)
    height_width_2 = tf.cond(
        is_png, lambda: files.png_size(file), lambda: files.jpeg_size(file)
    )

    def decoded():
        image_HWC = tf.cond(
            is_png,
            lambda: files.decode_png(file, channels=3),
            lambda: files.decode_jpeg(file, channels=3),
        )
        return resize(middle_square(image_HWC), size)

    image = tf.cond(
        files.is_small(height_width_2),
        decoded,
        lambda: tf.zeros([size, size, 3], tf.uint8),
    )
    return image, height_width_2
