"""Prompts and image tokens as the inputs of `DalleBartTextToImage`."""

# B batch, S text tokens, T image tokens

import keras
from keras_hub.models import Preprocessor

from keras_dalle.models.dalle_bart.dalle_bart_backbone import DalleBartBackbone
from keras_dalle.models.dalle_bart.dalle_bart_tokenizer import DalleBartTokenizer
from keras_dalle.models.original_checkpoints import FromOriginalCheckpoint
from keras_dalle.text.packing import pack_prompts
from keras_dalle.utils.files import read_json


@keras.saving.register_keras_serializable(package="keras_dalle")
class DalleBartTextToImagePreprocessor(FromOriginalCheckpoint, Preprocessor):
    """Tokenizes captions and makes the targets of training.

    Args:
        tokenizer: a `DalleBartTokenizer`.
        max_text_length: int. Text tokens S a row, `<s>` and `</s>` among them; longer
            captions are cut.

    Call arguments:
        x: a dictionary with `captions` string [B] and `image_tokens` int [B, T].

    Returns:
        A tuple `(x, y)`: inputs of the model, `encoder_token_ids` int32 [B, S],
        `encoder_padding_mask` int32 [B, S] and `image_tokens` [B, T], and the targets,
        `image_tokens` again. With `sample_weight`, `(x, y, sample_weight)`.
    """

    backbone_cls = DalleBartBackbone
    tokenizer_cls = DalleBartTokenizer

    def __init__(self, tokenizer, max_text_length=64, **kwargs):
        super().__init__(**kwargs)
        self.tokenizer = tokenizer
        self.max_text_length = max_text_length

    def call(self, x, y=None, sample_weight=None):
        names = sorted(x) if isinstance(x, dict) else type(x).__name__
        if not isinstance(x, dict) or {"captions", "image_tokens"} - set(x):
            raise ValueError(
                "Training data must be a dictionary with `captions` and "
                "`image_tokens`, or `captions` and `images` for a model with a VQGAN. "
                f"Received: {names}."
            )
        inputs = {
            **self.generate_preprocess(x["captions"]),
            "image_tokens": x["image_tokens"],
        }
        targets = x["image_tokens"]
        return keras.utils.pack_x_y_sample_weight(inputs, targets, sample_weight)

    def generate_preprocess(self, prompts):
        """Prompts, string [B], to `encoder_token_ids` and `encoder_padding_mask`."""
        token_ids, padding_mask = pack_prompts(
            self.tokenizer(prompts),
            self.max_text_length,
            self.tokenizer.start_token_id,
            self.tokenizer.end_token_id,
            self.tokenizer.pad_token_id,
        )
        return {"encoder_token_ids": token_ids, "encoder_padding_mask": padding_mask}

    @classmethod
    def from_original(cls, directory, **kwargs):
        """Reads the tokenizer's files and config.json of DALL·E mini."""
        config = read_json(directory / "config.json")
        defaults = {"max_text_length": config["max_text_length"]}
        tokenizer = cls.tokenizer_cls.from_original(directory)
        return cls(tokenizer, **{**defaults, **kwargs})

    def get_config(self):
        config = super().get_config()
        config.update({"max_text_length": self.max_text_length})
        return config
