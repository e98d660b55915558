"""What several signatures run, traced once, so that the export holds it once."""

# B batch, T image tokens, H height, W width

from typing import Any

import tensorflow as tf

from keras_dalle.generation.decoding import Known, generate_image_tokens
from keras_dalle.generation.one_by_one import decode_one_by_one, encode_one_by_one
from keras_dalle.generation.parameters import PARAMETERS
from keras_dalle.saved_model.signatures.row_function import Rows


class SharedGraphs:
    """The parts of a task as functions of tensors.

    Args:
        task: as of `ServingModule`.
    """

    def __init__(self, task: Any):
        self.task = task
        self._draw = tf.function(self._traced_draw, autograph=False)
        self._tokens_until = tf.function(self._traced_tokens_until, autograph=False)
        self.decode = tf.function(self._traced_decode, autograph=False)
        self.encode = tf.function(self._traced_encode, autograph=False)

    @property
    def length(self) -> int:
        """T."""
        return self.task.backbone.image_length

    @property
    def has_encoder(self) -> bool:
        """Whether pictures can be read; min-dalle's VQGAN is a decoder alone."""
        return self.task.vqgan.quantizer_kind is not None

    def draw(self, rows: Rows, known: Known | None = None) -> Rows:
        """Draws pictures from checked controls.

        Args:
            rows: prompts and parameters.
            known: tokens that are given, `None` for none.

        Returns:
            `images` uint8 [B, H, W, 3] and `image_tokens` int32 [B, T].
        """
        if known is None:
            shape = [tf.size(rows["prompt"]), self.length]
            known = Known(tf.zeros(shape, tf.int32), tf.zeros(shape, tf.bool))
        return self._draw(*_controls(rows), *known)

    def tokens_until(self, rows: Rows, known: Known, until_B: tf.Tensor) -> tf.Tensor:
        """Image tokens int32 [B, T], of which the first `until_B` are final."""
        return self._tokens_until(*_controls(rows), *known, until_B)

    def _traced_draw(self, prompt, negative_prompt, parameters, tokens_BT, mask_BT):
        known = Known(tokens_BT, mask_BT)
        return self.task.generate_rows(prompt, negative_prompt, known, **parameters)

    def _traced_tokens_until(
        self, prompt, negative_prompt, parameters, tokens_BT, mask_BT, until_B
    ):
        return generate_image_tokens(
            self.task.backbone,
            self.task.tokenized_prompts(prompt, negative_prompt),
            parameters,
            codebook_size=self.task.vqgan.codebook_size,
            known=Known(tokens_BT, mask_BT),
            until=until_B,
        )

    def _traced_decode(self, tokens_BT):
        return decode_one_by_one(self.task.vqgan, tokens_BT)

    def _traced_encode(self, images_BHWC):
        return encode_one_by_one(self.task.vqgan, images_BHWC)


def _controls(rows):
    parameters = {p.name: rows[p.name] for p in PARAMETERS}
    return rows["prompt"], rows["negative_prompt"], parameters
