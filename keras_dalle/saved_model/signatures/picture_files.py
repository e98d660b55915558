"""Picture files: what they are, how large, and their pixels.

No WebP: TensorFlow 2.20's decoder ends the whole process at an animated one. All its
decoders sniff what they are given, so a file's kind is checked before it meets any.
"""

# B batch, H height, W width, C channels

import tensorflow as tf

PNG_START = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8\xff"
# A file of a few kB can hold a picture of gigabytes, and decoding makes room for it.
MAX_PIXELS = 2**24


def is_png(file: tf.Tensor) -> tf.Tensor:
    """bool [...] of strings [...]."""
    return tf.strings.substr(file, 0, len(PNG_START)) == PNG_START


def is_jpeg(file: tf.Tensor) -> tf.Tensor:
    """bool [...] of strings [...]."""
    return tf.strings.substr(file, 0, len(JPEG_START)) == JPEG_START


def png_size(file: tf.Tensor) -> tf.Tensor:
    """int32 [2], (H, W); the header is always the first chunk. Fails if it is cut."""
    width_height = tf.io.decode_raw(
        tf.strings.substr(file, 16, 8), tf.int32, little_endian=False
    )
    return tf.ensure_shape(tf.reverse(width_height, [0]), [2])


def jpeg_size(file: tf.Tensor) -> tf.Tensor:
    """int32 [2], (H, W). Fails for a damaged file."""
    return tf.io.extract_jpeg_shape(file)[:2]


def decode_png(file: tf.Tensor, channels: int) -> tf.Tensor:
    """uint8 [H, W, C]. Fails for a damaged file."""
    return tf.io.decode_png(file, channels=channels)


def decode_jpeg(file: tf.Tensor, channels: int) -> tf.Tensor:
    """uint8 [H, W, C], as libjpeg decodes by default. Fails for a damaged file."""
    return tf.io.decode_jpeg(file, channels=channels, dct_method="INTEGER_ACCURATE")


def is_small(height_width: tf.Tensor) -> tf.Tensor:
    """Whether pictures of int32 [..., 2] may be decoded."""
    return tf.reduce_prod(tf.cast(height_width, tf.int64), axis=-1) <= MAX_PIXELS


def describe_faults(
    name: str,
    wanted: str,
    file_B: tf.Tensor,
    *,
    is_file_B: tf.Tensor,
    is_raw_B: tf.Tensor,
    is_whole_B: tf.Tensor,
    height_width_B2: tf.Tensor,
) -> tf.Tensor:
    """What is wrong with files of an input.

    Args:
        name: of the input.
        wanted: what it may be, in words.
        file_B: string.
        is_file_B: whether rows are files of a wanted kind.
        is_raw_B: whether they are values themselves.
        is_whole_B: whether files could be decoded.
        height_width_B2: int32, of pictures in files.

    Returns:
        Texts [B], empty for good rows.
    """
    length_B = tf.strings.as_string(tf.strings.length(file_B))
    other_B = tf.strings.join(
        [f"`{name}` must be {wanted}. Received: ", length_B, " bytes of another kind."]
    )
    height_B, width_B = tf.unstack(tf.strings.as_string(height_width_B2), axis=1)
    rule = f"`{name}` must have at most {MAX_PIXELS} pixels. Received: "
    large_B = tf.strings.join([rule, width_B, "×", height_B, "."])
    error_B = tf.where(is_small(height_width_B2), "", large_B)
    damaged = f"`{name}` must be a whole file. Received: a damaged one."
    error_B = tf.where(is_whole_B, error_B, damaged)
    return tf.where(is_file_B, error_B, tf.where(is_raw_B, "", other_B))
