"""`serving_default` and `generate`: pictures from prompts."""

# B batch, T image tokens, H height, W width

from typing import Any

from keras_dalle.saved_model.signatures.controls import (
    PROMPT,
    check_controls,
    control_inputs,
)
from keras_dalle.saved_model.signatures.packed_tokens import NO_TOKEN
from keras_dalle.saved_model.signatures.pictures_out import (
    blank_where_faulty,
    png_rows,
)
from keras_dalle.saved_model.signatures.row_function import (
    Rows,
    row_function,
    where_good,
)
from keras_dalle.saved_model.signatures.shared_graphs import SharedGraphs


def serving_default(graphs: SharedGraphs) -> Any:
    """Controls to `image_bytes`, a PNG a row."""

    def body(rows: Rows) -> Rows:
        rows, error_B = check_controls(rows)
        images_BHWC = graphs.draw(rows)["images"]
        return {"image_bytes": png_rows(images_BHWC, error_B), "error": error_B}

    inputs = (PROMPT, *control_inputs(graphs.task))
    return row_function("serving_default", inputs, body)


def generate(graphs: SharedGraphs) -> Any:
    """Controls to `image` uint8 [B, H, W, 3] and `image_tokens` int32 [B, T]."""

    def body(rows: Rows) -> Rows:
        rows, error_B = check_controls(rows)
        drawn = graphs.draw(rows)
        return {
            "image": blank_where_faulty(drawn["images"], error_B),
            "image_tokens": where_good(error_B, drawn["image_tokens"], NO_TOKEN),
            "error": error_B,
        }

    return row_function("generate", (PROMPT, *control_inputs(graphs.task)), body)
