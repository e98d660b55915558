"""DALL·E mini as a Keras task: `fit` on captioned pictures, `generate` from prompts."""

# B batch, S text tokens, T image tokens, V image vocabulary + 1, H height, W width

import secrets

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from keras_dalle.generation import scoring, streaming
from keras_dalle.generation.conditioning import Prompts
from keras_dalle.generation.decoding import Known, generate_image_tokens
from keras_dalle.generation.given_images import given_tokens
from keras_dalle.generation.parameters import (
    PARAMETERS,
    defaults_of,
)
from keras_dalle.generation.rows import prompts_of, rows_of
from keras_dalle.layers.blank_caption import BlankCaptionDropout
from keras_dalle.layers.shift_right import ShiftRight
from keras_dalle.layers.token_noise import TokenNoise
from keras_dalle.models.dalle_bart.dalle_bart_backbone import DalleBartBackbone
from keras_dalle.models.dalle_bart.dalle_bart_presets import vqgan_of
from keras_dalle.models.dalle_bart.dalle_bart_text_to_image_preprocessor import (
    DalleBartTextToImagePreprocessor,
)
from keras_dalle.models.dalle_bart.token_accuracy import TokenAccuracy
from keras_dalle.models.original_checkpoints import FromOriginalCheckpoint
from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone
from keras_dalle.optimizers.adamw import AdamW

_MAX_ROWS_AT_ONCE = 48


@keras.saving.register_keras_serializable(package="keras_dalle")
class DalleBartTextToImage(FromOriginalCheckpoint, keras_hub.models.TextToImage):
    """DALL·E mini: trains on captioned pictures, draws pictures for prompts.

    `fit`, `evaluate` and `predict` take dictionaries with `captions` (strings) and
    either `images` (uint8 [B, H, W, 3], which the VQGAN turns into tokens in the input
    pipeline) or `image_tokens` (int [B, T]).

    Args:
        backbone: a `DalleBartBackbone`.
        preprocessor: a `DalleBartTextToImagePreprocessor`, or `None` for inputs that
            are preprocessed already.
        vqgan: a `VQGANBackbone`, which is not trained here, or `None` to train on image
            tokens alone.
        blank_caption_rate: float. Share of the captions that training blanks, so that
            guidance works.
        image_token_noise: float. Training replaces up to this share of the image tokens
            that the decoder sees, so that generation recovers from its own mistakes;
            0, the default, is how the original trains.
        generation_defaults: dictionary or `None`. What this model's pictures look best
            with, by the names of `generate`, where it is not guidance scale 10,
            temperature 1, top-k 50 and top-p 1.

    Example:
    ```python
    text_to_image = keras_dalle.models.DalleBartTextToImage.from_preset("emoji_tiny")
    image = text_to_image.generate("red heart", seed=0)  # uint8 [64, 64, 3]
    images = text_to_image.generate(["red heart", "sun"], num_images=4)

    text_to_image.compile(optimizer=keras.optimizers.AdamW(1e-4))
    text_to_image.fit(
        {"captions": ["red heart", "sun"], "images": images[:, 0]}, batch_size=2
    )
    ```
    """

    backbone_cls = DalleBartBackbone
    preprocessor_cls = DalleBartTextToImagePreprocessor
    original_files = (
        *backbone_cls.original_files,
        *preprocessor_cls.original_files,
    )

    def __init__(
        self,
        backbone,
        preprocessor=None,
        vqgan=None,
        blank_caption_rate=0.0,
        image_token_noise=0.0,
        generation_defaults=None,
        **kwargs,
    ):
        # === Layers ===
        self.backbone = backbone
        self.preprocessor = preprocessor
        self.blank_captions = BlankCaptionDropout(
            blank_caption_rate, name="blank_captions"
        )
        self.token_noise = TokenNoise(
            image_token_noise, backbone.image_vocabulary_size, name="token_noise"
        )
        self.shift_right = ShiftRight(
            backbone.decoder_start_token_id, name="shift_right"
        )

        # === Functional Model ===
        inputs = {
            "encoder_token_ids": keras.Input(
                (None,), dtype="int32", name="encoder_token_ids"
            ),
            "encoder_padding_mask": keras.Input(
                (None,), dtype="int32", name="encoder_padding_mask"
            ),
            "image_tokens": keras.Input((None,), dtype="int32", name="image_tokens"),
        }
        token_ids, padding_mask = self.blank_captions(
            inputs["encoder_token_ids"], inputs["encoder_padding_mask"]
        )
        seen_tokens = self.token_noise(inputs["image_tokens"])
        outputs = backbone(
            {
                "encoder_token_ids": token_ids,
                "encoder_padding_mask": padding_mask,
                "decoder_token_ids": self.shift_right(seen_tokens),
            }
        )
        super().__init__(inputs=inputs, outputs=outputs["logits"], **kwargs)

        # === Config ===
        self.vqgan = vqgan
        if vqgan is not None:
            # Keras hands only a change of `trainable` on to a model's layers.
            vqgan.trainable = True
            vqgan.trainable = False
        self.blank_caption_rate = blank_caption_rate
        self.image_token_noise = image_token_noise
        self.generation_defaults = defaults_of(generation_defaults)

    def compile(
        self,
        optimizer="auto",
        loss="auto",
        *,
        metrics="auto",
        jit_compile="auto",
        **kwargs,
    ):
        """Configures training.

        Args:
            optimizer: `"auto"` is `keras_dalle.optimizers.adamw.AdamW(1e-4)`, Keras's
                with fewer passes over memory; else as `keras.Model.compile`.
            loss: `"auto"` is the mean cross-entropy over all image positions, as the
                original trains.
            metrics: `"auto"` is accuracy a token and perplexity.
            jit_compile: `"auto"` is XLA where there is an accelerator: on a CPU its
                steps were no faster, after a long compilation.
            **kwargs: as `keras.Model.compile`.
        """
        if optimizer == "auto":
            optimizer = AdamW(1e-4)
        if loss == "auto":
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        if metrics == "auto":
            metrics = [
                TokenAccuracy(),
                keras_hub.metrics.Perplexity(from_logits=True, name="perplexity"),
            ]
        if jit_compile == "auto" and not _has_accelerator():
            jit_compile = False
        super().compile(
            optimizer=optimizer,
            loss=loss,
            metrics=metrics,
            jit_compile=jit_compile,
            **kwargs,
        )

    def preprocess_samples(self, x, y=None, sample_weight=None):
        if isinstance(x, dict) and "images" in x:
            x = {**x, "image_tokens": self._image_tokens(x["images"])}
            del x["images"]
        data = super().preprocess_samples(x, y, sample_weight)
        return data if self.preprocessor is None else _with_known_rows(data)

    def _image_tokens(self, images):
        vqgan = self._require_vqgan("Training on `images`")
        size = vqgan.image_size
        if tuple(images.shape[1:]) != (size, size, 3) or images.dtype != tf.uint8:
            raise ValueError(
                f"`images` must be uint8 [B, {size}, {size}, 3]. Received: "
                f"{images.dtype} {tuple(images.shape)}. Resize them first."
            )
        return vqgan.encode_images(images)

    def generate(
        self,
        inputs,
        *,
        num_images=1,
        guidance_scale=None,
        temperature=None,
        guidance_scale_end=None,
        top_k=None,
        top_p=None,
        seed=None,
        image=None,
        mask=None,
        return_tokens=False,
    ):
        """Draws pictures.

        A picture depends on its own prompt, parameters and seed alone: it is the same
        in any batch. What is `None` is the model's own `generation_defaults`; one that
        has none takes the original's, guidance scale 10 and top-k 50.

        Args:
            inputs: a string, a list of strings, or a dictionary with `prompts` and,
                if wanted, `negative_prompts` (one for all, or one a prompt).
            num_images: int. Pictures a prompt; picture i has the seed `seed + i`.
            guidance_scale: float, or one a prompt. How far the prompt leads away from
                the negative or blank one; 1 is off.
            temperature: float, or one a prompt. Above 1 is more varied.
            guidance_scale_end: float, or one a prompt. The guidance scale at the last
                image token, reached along a line from `guidance_scale`; -1 keeps it.
            top_k: int, or one a prompt. Draws among the k likeliest tokens; 0 is off.
            top_p: float, or one a prompt. Draws among the likeliest tokens that reach
                this probability together; 1 is off.
            seed: int, or one a prompt. `None` draws one at random.
            image: uint8 [H, W, 3] of any size, or one a prompt: a picture of which only
                what `mask` says is drawn. Its middle square is resized to the model's
                size; what stays is as the VQGAN shows it.
            mask: [H, W], or one a prompt, as the image: true or above 0 where to draw.
                A token is drawn if any of its pixels is masked. Drawing goes from the
                top left to the bottom right and sees only what is before it.
            return_tokens: bool. Whether the pictures come with their image tokens.

        Returns:
            uint8 [H, W, 3] for a string, [B, H, W, 3] for B prompts; with `num_images`
            N above 1, [N, H, W, 3] and [B, N, H, W, 3]. With `return_tokens`, a
            dictionary of these `images` and, with T in place of H, W, 3, of int32
            `image_tokens`.

        Raises:
            ValueError: a parameter is out of its range, or the model has no VQGAN.
        """
        if num_images < 1:
            raise ValueError(f"`num_images` (={num_images}) must be at least 1.")
        parameters = {
            "guidance_scale": guidance_scale,
            "guidance_scale_end": guidance_scale_end,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "seed": seed,
        }
        rows, is_scalar = self._rows(inputs, parameters, num_images, image, mask)
        drawn = self._generate_in_batches(rows)
        if num_images > 1:
            drawn = {
                k: x.reshape(-1, num_images, *x.shape[1:]) for k, x in drawn.items()
            }
        if is_scalar:
            drawn = {k: x[0] for k, x in drawn.items()}
        return drawn if return_tokens else drawn["images"]

    def _rows(self, inputs, parameters, num_images=1, image=None, mask=None):
        """Arguments of the generate function, one row a picture; if there is no B."""
        prompts, negative_prompts, is_scalar = prompts_of(inputs)
        given = {name: x for name, x in parameters.items() if x is not None}
        given.setdefault("seed", secrets.randbits(31))
        rows = rows_of(
            prompts,
            negative_prompts,
            num_images,
            {**self.generation_defaults, **given},
        )
        known = given_tokens(self, image, mask, len(prompts))
        rows |= {k: np.repeat(x, num_images, axis=0) for k, x in known.items()}
        return rows, is_scalar

    def generate_stream(
        self, inputs, *, every=None, image=None, mask=None, **parameters
    ):
        """Draws pictures and shows them while they are drawn.

        What is not drawn yet continues the row of tokens above it downwards. The last
        pictures are those of `generate`.

        Args:
            inputs: as of `generate`, at most 48 prompts.
            every: tokens from one picture to the next; default: a fourth of them.
            image, mask: as of `generate`.
            **parameters: `seed`, `guidance_scale`, ... as of `generate`.

        Yields:
            uint8 [H, W, 3] for a string, [B, H, W, 3] for B prompts.

        Raises:
            ValueError: as `generate`, or `every` is below 1, or there are too many
                prompts, or there is no such parameter.
        """
        unknown = sorted(set(parameters) - {p.name for p in PARAMETERS})
        if unknown:
            raise ValueError(f"There is no parameter {', '.join(unknown)}.")
        self._require_vqgan("Generation")
        rows, is_scalar = self._rows(inputs, parameters, image=image, mask=mask)
        if len(rows["prompt"]) > _MAX_ROWS_AT_ONCE:
            raise ValueError(
                f"At most {_MAX_ROWS_AT_ONCE} pictures are drawn in one stream. "
                f"Received: {len(rows['prompt'])} prompts. Draw them in parts."
            )
        for images in streaming.stream_images(self, rows, every):
            yield images[0] if is_scalar else images

    def _generate_in_batches(self, rows):
        generate_rows = self.make_generate_function()
        count = len(rows["prompt"])
        batches = [
            generate_rows(*(x[i : i + _MAX_ROWS_AT_ONCE] for x in rows.values()))
            for i in range(0, count, _MAX_ROWS_AT_ONCE)
        ]
        size = self._require_vqgan("Generation").image_size
        empty = {
            "images": np.zeros((0, size, size, 3), np.uint8),
            "image_tokens": np.zeros((0, self.backbone.image_length), np.int32),
        }
        return {
            k: np.concatenate([x, *(b[k] for b in batches)]) for k, x in empty.items()
        }

    def make_generate_function(self):
        """`generate_rows` as one graph for every batch size."""
        if getattr(self, "generate_function", None) is None:
            text = tf.TensorSpec([None], tf.string)
            signature = [text, text]
            signature += [tf.TensorSpec([None], p.dtype) for p in PARAMETERS]
            length = self.backbone.image_length
            signature += [tf.TensorSpec([None, length], x) for x in (tf.int32, tf.bool)]
            names = [p.name for p in PARAMETERS]

            def generate_rows(prompt, negative_prompt, *others):
                parameters = dict(zip(names, others[:-2], strict=True))
                known = Known(*others[-2:])
                return self.generate_rows(prompt, negative_prompt, known, **parameters)

            self.generate_function = tf.function(
                generate_rows, input_signature=signature
            )
        return self.generate_function

    def generate_rows(self, prompt, negative_prompt, known=None, **parameters):
        """What `generate` and the SavedModel run, on tensors of shape [B].

        Args:
            prompt, negative_prompt: string [B].
            known: a `keras_dalle.generation.decoding.Known`, the tokens that are given;
                `None` for none.
            **parameters: [B] each, all of `keras_dalle.generation.parameters`.

        Returns:
            A dictionary: `images` uint8 [B, H, W, 3] and `image_tokens` int32 [B, T].
        """
        vqgan = self._require_vqgan("Generation")
        tokens_BT = generate_image_tokens(
            self.backbone,
            self.tokenized_prompts(prompt, negative_prompt),
            parameters,
            codebook_size=vqgan.codebook_size,
            known=known,
        )
        images_BHWC = streaming.decode_one_by_one(vqgan, tokens_BT)
        return {"images": images_BHWC, "image_tokens": tokens_BT}

    def tokenized_prompts(self, prompt, negative_prompt):
        """What leads the decoder, from string [B] both."""
        positive = self.preprocessor.generate_preprocess(prompt)
        negative = self.preprocessor.negative_preprocess(negative_prompt)
        return Prompts.of_one_each(
            positive["encoder_token_ids"],
            positive["encoder_padding_mask"],
            negative["encoder_token_ids"],
            negative["encoder_padding_mask"],
        )

    def score(self, inputs, *, scoring_mode="log_likelihood", per_token=False):
        """How likely pictures are for prompts.

        Probabilities are over the VQGAN's codes, without guidance or temperature. A
        picture's score depends on its own prompt alone: it is the same in any batch.

        Args:
            inputs: a dictionary with `prompts`, one text for all pictures or one a
                picture, and either `images` uint8 [B, H, W, 3] or `image_tokens` int
                [B, T], such as `generate(..., return_tokens=True)` gives. Pictures go
                through the VQGAN, which loses some of them.
            scoring_mode: `"log_likelihood"` is log p(picture | prompt), the natural
                logarithm; `"pmi"`, pointwise mutual information, is log p(picture |
                prompt) - log p(picture | blank prompt): how much the prompt speaks for
                the picture.
            per_token: bool. Whether the image tokens' scores are returned one by one,
                not their sum.

        Returns:
            float32 [B], or [B, T] with `per_token`.

        Raises:
            ValueError: a wrong shape, type or token, or the model has no VQGAN.
        """
        self._require_vqgan("Scoring")
        return scoring.score_in_batches(self, inputs, scoring_mode, per_token)

    def score_rows(self, prompt, image_tokens, scoring_mode="log_likelihood"):
        """What `score` runs, on tensors.

        Args:
            prompt: string [B].
            image_tokens: int32 [B, T], each in [0, codebook_size).
            scoring_mode: as of `score`.

        Returns:
            A dictionary: the sum over all image tokens, float32 [B], by the name of
            the mode, and `per_token` float32 [B, T].
        """
        self._require_vqgan("Scoring")
        return scoring.score_rows(self, prompt, image_tokens, scoring_mode)

    def _require_vqgan(self, purpose):
        if self.vqgan is None:
            raise ValueError(
                f"{purpose} needs a VQGAN. Pass `vqgan=VQGANBackbone.from_preset(...)` "
                "to `DalleBartTextToImage` or to its `from_preset`. On the command "
                "line, `keras-dalle convert MODEL --vqgan VQGAN --to PRESET` makes a "
                "preset of both."
            )
        return self.vqgan

    def has_task_weights(self):
        return self.vqgan is not None

    def save_task_weights(self, filepath):
        self._require_vqgan("Saving task weights").save_weights(filepath)

    def load_task_weights(self, filepath):
        self._require_vqgan("Loading task weights").load_weights(filepath)

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "vqgan": keras.saving.serialize_keras_object(self.vqgan),
                "blank_caption_rate": self.blank_caption_rate,
                "image_token_noise": self.image_token_noise,
                "generation_defaults": {
                    name: value
                    for name, value in self.generation_defaults.items()
                    if name != "seed"
                },
            }
        )
        return config

    @classmethod
    def from_preset(cls, preset, *args, **kwargs):
        """As KerasHub's, and on originals; `vqgan=` replaces the preset's VQGAN.

        The originals' folders hold no VQGAN; the registered ones know theirs.
        """
        if vqgan := vqgan_of(preset):
            kwargs = {"vqgan": vqgan, **kwargs}
        return super().from_preset(preset, *args, **kwargs)

    @classmethod
    def from_original(
        cls, directory, load_weights=True, dtype=None, vqgan=None, **kwargs
    ):
        """Reads DALL·E mini's folder: config, weights and tokenizer.

        The VQGAN is published apart: `vqgan` is a `VQGANBackbone`, or the preset of
        one, or `None`.
        """
        backbone = cls.backbone_cls.from_original(directory, load_weights, dtype=dtype)
        preprocessor = cls.preprocessor_cls.from_original(directory)
        if isinstance(vqgan, str):
            vqgan = VQGANBackbone.from_preset(vqgan, load_weights)
        return cls(backbone, preprocessor, vqgan, **kwargs)

    @classmethod
    def from_config(cls, config):
        if isinstance(config.get("vqgan"), dict):
            vqgan = keras.saving.deserialize_keras_object(config["vqgan"])
            if not isinstance(vqgan, VQGANBackbone):
                raise ValueError(
                    "`vqgan` in task.json must be a VQGANBackbone. Received: "
                    f"{type(vqgan).__name__}."
                )
            config = {**config, "vqgan": vqgan}
        return super().from_config(config)


def _with_known_rows(data):
    """Tells a graph that there are as many captions as rows of image tokens.

    Captions are packed as ragged tensors, which forget it; XLA wants it.
    """
    inputs = dict(data[0])
    rows = tf.convert_to_tensor(inputs["image_tokens"]).shape[0]
    for name in ("encoder_token_ids", "encoder_padding_mask"):
        inputs[name] = tf.ensure_shape(inputs[name], [rows, None])
    return inputs, *data[1:]


def _has_accelerator():
    return any(
        device.device_type in ("GPU", "TPU")
        for device in tf.config.list_physical_devices()
    )
