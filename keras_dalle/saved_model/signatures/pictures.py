"""`encode_image` and `decode_tokens`: the VQGAN's two ways."""

# B batch, T image tokens, H height, W width

from typing import Any

from keras_dalle.saved_model.signatures.packed_tokens import (
    IMAGE_TOKENS,
    NO_TOKEN,
    TOKENS_NAME,
    unpack_tokens,
)
from keras_dalle.saved_model.signatures.pictures_in import IMAGE, read_pictures
from keras_dalle.saved_model.signatures.pictures_out import png_rows
from keras_dalle.saved_model.signatures.row_function import (
    Rows,
    row_function,
    where_good,
)
from keras_dalle.saved_model.signatures.shared_graphs import SharedGraphs


def encode_image(graphs: SharedGraphs) -> Any:
    """`image_bytes` to `image_tokens` int32 [B, T]."""

    def body(rows: Rows) -> Rows:
        size = graphs.task.vqgan.image_size
        images_BHWC, error_B, _ = read_pictures(rows[IMAGE.name], size)
        tokens_BT = graphs.encode(images_BHWC)
        return {
            "image_tokens": where_good(error_B, tokens_BT, NO_TOKEN),
            "error": error_B,
        }

    return row_function("encode_image", [IMAGE], body)


def decode_tokens(graphs: SharedGraphs) -> Any:
    """`image_tokens_bytes` to `image_bytes`, a PNG a row."""

    def body(rows: Rows) -> Rows:
        codebook_size = graphs.task.vqgan.codebook_size
        given = unpack_tokens(rows[TOKENS_NAME], graphs.length, codebook_size)
        images_BHWC = graphs.decode(given.tokens_BT)
        return {
            "image_bytes": png_rows(images_BHWC, given.error_B),
            "error": given.error_B,
        }

    return row_function("decode_tokens", [IMAGE_TOKENS], body)
