"""Prompts and image tokens as the inputs of `DalleBartTextToImage`."""

# B batch, S text tokens, T image tokens

import keras
from keras_hub.models import Preprocessor

from keras_dalle.generation.text_tensors import text_tensor, token_tensor
from keras_dalle.models.dalle_bart.dalle_bart_backbone import DalleBartBackbone
from keras_dalle.models.dalle_bart.dalle_bart_tokenizer import DalleBartTokenizer
from keras_dalle.models.original_checkpoints import (
    CONFIG_FILES,
    TOKENIZER_FILES,
    FromOriginalCheckpoint,
)
from keras_dalle.models.saved_alone import SavedAlone
from keras_dalle.text.normalize_in_graph import GraphNormalizer, empty_if_blank
from keras_dalle.text.packing import pack_prompts
from keras_dalle.utils.files import read_json


@keras.saving.register_keras_serializable(package="keras_dalle")
class DalleBartTextToImagePreprocessor(
    SavedAlone, FromOriginalCheckpoint, Preprocessor
):
    """Tokenizes captions and makes the targets of training.

    Args:
        tokenizer: a `DalleBartTokenizer`.
        max_text_length: int. Text tokens S a row, `<s>` and `</s>` among them; longer
            captions are cut.
        normalize_text: bool. Whether captions and prompts are first spelled as the
            released DALL·E mini and Mega were trained on them, by what of the text
            normalizer runs in a graph.

    Call arguments:
        x: a dictionary with `captions` string [B] and `image_tokens` int [B, T], or
            both without B.

    Returns:
        A tuple `(x, y)`: inputs of the model, `encoder_token_ids` int32 [B, S],
        `encoder_padding_mask` int32 [B, S] and `image_tokens` [B, T], and the targets,
        `image_tokens` again. With `sample_weight`, `(x, y, sample_weight)`.
    """

    backbone_cls = DalleBartBackbone
    tokenizer_cls = DalleBartTokenizer
    original_files = CONFIG_FILES + TOKENIZER_FILES
    own_files = ("preprocessor.json", "tokenizer.json")

    def __init__(self, tokenizer, max_text_length=64, normalize_text=False, **kwargs):
        super().__init__(**kwargs)
        self.tokenizer = tokenizer
        self.max_text_length = max_text_length
        self.normalize_text = normalize_text
        self._normalizer = GraphNormalizer() if normalize_text else None

    @property
    def sequence_length(self):
        """Returns `max_text_length`, under KerasHub's name. You can set it."""
        return self.max_text_length

    @sequence_length.setter
    def sequence_length(self, value):
        self.max_text_length = value

    def call(self, x, y=None, sample_weight=None):
        _check_names(x)
        image_tokens = token_tensor("image_tokens", x["image_tokens"])
        inputs = {
            **self.generate_preprocess(x["captions"]),
            "image_tokens": image_tokens,
        }
        return keras.utils.pack_x_y_sample_weight(inputs, image_tokens, sample_weight)

    def generate_preprocess(self, prompts):
        """Tokenizes prompts that are drawn.

        Args:
            prompts: one text, or a list, array or tensor of texts [B].

        Returns:
            A dictionary: `encoder_token_ids` and `encoder_padding_mask`, int32 [S] of
            one text, else [B, S].

        Raises:
            ValueError: `prompts` are something else.
        """
        return self._tokenize(self._normalize(text_tensor("prompts", prompts)))

    def negative_preprocess(self, prompts):
        """As `generate_preprocess`, for what guidance leads away from.

        One with nothing in it is the blank caption, `<s> </s>`. As a prompt to draw
        it is `<s>`, a space, `</s>` where texts are normalized, as in the original.
        """
        prompts = self._normalize(text_tensor("prompts", prompts))
        if self.normalize_text:
            prompts = empty_if_blank(prompts)
        return self._tokenize(prompts)

    def kept_and_left_out(self, prompts):
        """Returns where prompts longer than the model reads are cut.

        Args:
            prompts: texts [B].

        Returns:
            A pair of texts, what is read and what is not, for each prompt that is cut.
        """
        ids = self.tokenizer(self._normalize(text_tensor("prompts", prompts)))
        most = self.max_text_length - 2  # Beside <s> and </s>.
        kept = self.tokenizer.detokenize(ids[:, :most]).numpy()
        left_out = self.tokenizer.detokenize(ids[:, most:]).numpy()
        lengths = ids.row_lengths().numpy()
        # A character may be cut in two.
        return [
            (a.decode().rstrip("\ufffd"), b.decode().lstrip("\ufffd"))
            for a, b, length in zip(kept, left_out, lengths, strict=True)
            if length > most
        ]

    def _normalize(self, prompts):
        return prompts if self._normalizer is None else self._normalizer(prompts)

    def _tokenize(self, prompts):
        token_ids, padding_mask = pack_prompts(
            self.tokenizer(prompts),
            self.max_text_length,
            self.tokenizer.start_token_id,
            self.tokenizer.end_token_id,
            self.tokenizer.pad_token_id,
        )
        return {"encoder_token_ids": token_ids, "encoder_padding_mask": padding_mask}

    @classmethod
    def load_alone(cls, loader, config_file="preprocessor.json", **kwargs):
        return loader.load_preprocessor(cls, config_file, **kwargs)

    @classmethod
    def from_original(cls, directory, **kwargs):
        """Reads the tokenizer's files of DALL·E mini, and config.json if there is one.

        min-dalle's folders have none; their weights are those of the released models.
        """
        path = directory / "config.json"
        config = read_json(path) if path.exists() else {"normalize_text": True}
        defaults = {
            "max_text_length": config.get("max_text_length", 64),
            "normalize_text": config.get("normalize_text", False),
        }
        tokenizer = cls.tokenizer_cls.from_original(directory)
        return cls(tokenizer, **{**defaults, **kwargs})

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "max_text_length": self.max_text_length,
                "normalize_text": self.normalize_text,
            }
        )
        return config


def _check_names(x):
    if isinstance(x, dict) and {"captions", "image_tokens"} <= set(x):
        if "images" in x:
            raise ValueError(
                "Give one of `images` and `image_tokens`. Received: both. Leave "
                "`images` out."
            )
        return
    received = sorted(map(str, x)) if isinstance(x, dict) else type(x).__name__
    if isinstance(x, dict) and {"captions", "images"} <= set(x):
        raise ValueError(
            "A preprocessor reads `captions` and `image_tokens`; it has no VQGAN for "
            f"`images`. Received: {received}. `fit` of a `DalleBartTextToImage` with a "
            "VQGAN takes `images`, and its `encode_images` gives their tokens."
        )
    raise ValueError(
        "A preprocessor reads a dictionary with `captions` and `image_tokens`. "
        f"Received: {received}."
    )
