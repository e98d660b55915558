"""Drawing and scoring pictures, as methods of a text-to-image task."""

# B batch, N pictures a prompt, T image tokens, H height, W width

import secrets
from typing import Any

import numpy as np
import tensorflow as tf

from keras_dalle.generation import scoring, streaming
from keras_dalle.generation.conditioning import Prompts
from keras_dalle.generation.decoding import Known, generate_image_tokens
from keras_dalle.generation.given_images import given_tokens
from keras_dalle.generation.image_tokens import decode_tokens, encode_images
from keras_dalle.generation.one_by_one import decode_one_by_one
from keras_dalle.generation.parameters import PARAMETERS
from keras_dalle.generation.passes import draw_in_passes
from keras_dalle.generation.prompt_inputs import text_rows
from keras_dalle.generation.prompt_notes import warn_of_prompts
from keras_dalle.generation.rows import rows_of
from keras_dalle.generation.token_prompts import token_rows
from keras_dalle.generation.traced import traced_functions
from keras_dalle.generation.variations import checked_fractions, kept_positions
from keras_dalle.generation.weighted_prompts import weighted_parts
from keras_dalle.utils.plain_values import count

_MAX_ROWS_AT_ONCE = 48


class Drawing:
    """What a task with these attributes can do once it is trained.

    Attributes:
        backbone: a `DalleBartBackbone`.
        preprocessor: a `DalleBartTextToImagePreprocessor`, or `None`. With `None`,
            `generate` takes token ids, and other methods that read prompts raise.
        vqgan: a `VQGANBackbone`, or `None`: then each method raises.
        generation_defaults: the value of each parameter that is left open, by name.
    """

    backbone: Any
    preprocessor: Any
    vqgan: Any
    generation_defaults: dict[str, float | int]

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
        keep_fraction=None,
        passes=1,
        return_tokens=False,
    ):
        """Draws pictures.

        A picture depends on its own prompt, parameters and seed alone: it is the same
        in any batch. What is `None` is the model's own `generation_defaults`; one that
        has none takes the original's, guidance scale 10 and top-k 50.

        Args:
            inputs: a string, a list or a tensor of strings, or a dictionary with
                `prompts` and, if wanted, `negative_prompts` (one for all, or one a
                prompt), or a `tf.data.Dataset` of any of these, batched or not. A
                prompt may have weighted parts: "a cat:1.2 AND a dog:0.6", see
                `keras_dalle.generation.weighted_prompts`. Where `preprocessor` is
                `None`, token ids in place of strings: what a preprocessor's
                `generate_preprocess` returns.
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
            image: a picture of any size, or one a prompt: an array [H, W, 3], uint8 or
                float from 0 to 1, grey or with alpha too, or a Pillow image. Its middle
                square is resized to the model's size; what stays is as the VQGAN shows
                it. Or image tokens, int [T], -1 where to draw, and no mask.
            mask: [H, W] as the image, or one per prompt: true or above 0 where to draw.
                A token is drawn if any of its pixels is masked. Drawing goes from the
                top left to the bottom right and sees only what is before it.
            keep_fraction: float from 0 to 1, or one a prompt: the share of the image's
                tokens that stays although the mask, or nothing, says so: a variation.
                Which of them depends on the seed alone, and a larger share keeps those
                of a smaller one.
            passes: int. Where kept tokens stand behind drawn ones, draws that many
                times and takes the picture in which they are likeliest.
            return_tokens: bool. Whether the pictures come with their image tokens.

        Returns:
            uint8 [H, W, 3] for a string, [B, H, W, 3] for B prompts; with `num_images`
            N above 1, [N, H, W, 3] and [B, N, H, W, 3]. With `return_tokens`, a
            dictionary of these `images` and, with T in place of H, W, 3, of int32
            `image_tokens`.

        Raises:
            ValueError: a parameter is out of its range, or the model has no VQGAN.

        Warns:
            PromptWarning: a prompt is longer than the model reads, or its end was read
                as a weight and may be a time.
        """
        self.require_vqgan("Generation")
        num_images = count("num_images", num_images)
        passes = count("passes", passes)
        parameters = {
            "guidance_scale": guidance_scale,
            "guidance_scale_end": guidance_scale_end,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "seed": seed,
        }
        given = {"image": image, "mask": mask, "keep_fraction": keep_fraction}
        if passes > 1:
            self._require_preprocessor("Drawing in several `passes`")
        rows, is_scalar = self._rows(inputs, parameters, num_images, **given)
        drawn = draw_in_passes(self, rows, passes, self._generate_in_batches)
        if num_images > 1:
            drawn = {
                k: x.reshape(-1, num_images, *x.shape[1:]) for k, x in drawn.items()
            }
        if is_scalar:
            drawn = {k: x[0] for k, x in drawn.items()}
        return drawn if return_tokens else drawn["images"]

    def _rows(
        self,
        inputs,
        parameters,
        num_images=1,
        image=None,
        mask=None,
        keep_fraction=None,
    ):
        """Arguments of the generate function, one row a picture; if there is no B."""
        if self.preprocessor is None:
            prompt_rows, is_scalar = token_rows(self, inputs)
        else:
            prompt_rows, is_scalar = text_rows(inputs)
            prompts, negative_prompts = prompt_rows.values()
            warn_of_prompts(self.preprocessor, prompts, negative_prompts, stacklevel=3)
        num_prompts = len(next(iter(prompt_rows.values())))
        given = {name: x for name, x in parameters.items() if x is not None}
        given.setdefault("seed", secrets.randbits(31))
        rows = rows_of(prompt_rows, num_images, {**self.generation_defaults, **given})
        is_varied = keep_fraction is not None
        known = given_tokens(self, image, mask, num_prompts, is_varied)
        rows |= {k: np.repeat(x, num_images, axis=0) for k, x in known.items()}
        if keep_fraction is not None:
            fraction_B = checked_fractions(keep_fraction, num_prompts)
            rows["known_mask"] |= kept_positions(
                rows["seed"],
                np.repeat(fraction_B, num_images),
                self.backbone.image_length,
            )
        return rows, is_scalar

    def generate_stream(
        self,
        inputs,
        *,
        every=None,
        image=None,
        mask=None,
        keep_fraction=None,
        **parameters,
    ):
        """Draws pictures and shows them while they are drawn.

        What is not drawn yet continues the row of tokens above it downwards. The last
        pictures are those of `generate`.

        Args:
            inputs: as of `generate`, at most 48 prompts.
            every: tokens from one picture to the next; default: a fourth of them.
            image, mask, keep_fraction: as of `generate`.
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
        self.require_vqgan("Generation")
        self._require_preprocessor("A stream")
        given = {"image": image, "mask": mask, "keep_fraction": keep_fraction}
        rows, is_scalar = self._rows(inputs, parameters, **given)
        if len(rows["prompt"]) > _MAX_ROWS_AT_ONCE:
            raise ValueError(
                f"At most {_MAX_ROWS_AT_ONCE} pictures are drawn in one stream. "
                f"Received: {len(rows['prompt'])} prompts. Draw them in parts."
            )
        for images in streaming.stream_images(self, rows, every):
            yield images[0] if is_scalar else images

    def _generate_in_batches(self, rows):
        generate_rows = self.make_generate_function()
        num_rows = len(rows["seed"])
        batches = [
            generate_rows(*(x[i : i + _MAX_ROWS_AT_ONCE] for x in rows.values()))
            for i in range(0, num_rows, _MAX_ROWS_AT_ONCE)
        ]
        size = self.require_vqgan("Generation").image_size
        empty = {
            "images": np.zeros((0, size, size, 3), np.uint8),
            "image_tokens": np.zeros((0, self.backbone.image_length), np.int32),
        }
        return {
            k: np.concatenate([x, *(b[k] for b in batches)]) for k, x in empty.items()
        }

    def make_generate_function(self):
        """Returns the function that draws rows, one graph for every batch size.

        Its arguments are prompts, parameters and known tokens: texts, or token ids
        and masks where there is no preprocessor.
        """
        functions = traced_functions(self)
        made = getattr(self, "generate_function", None)
        if made is None or made is not functions.get("generate"):
            functions["generate"] = self.generate_function = _generate_function(self)
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
        prompts = self.tokenized_prompts(prompt, negative_prompt)
        return _draw(self, prompts, known, parameters)

    def tokenized_prompts(self, prompt, negative_prompt):
        """What leads the decoder, from string [B] both; see `weighted_prompts`."""
        texts_BC, weights_BC = weighted_parts(prompt)
        texts = self.preprocessor.generate_preprocess(tf.reshape(texts_BC, [-1]))
        negative = self.preprocessor.negative_preprocess(negative_prompt)

        def by_part(x):
            x_BCS = tf.reshape(x, tf.concat([tf.shape(texts_BC), tf.shape(x)[1:]], 0))
            return tf.ensure_shape(x_BCS, [None, None, x.shape[1]])

        return Prompts(
            by_part(texts["encoder_token_ids"]),
            by_part(texts["encoder_padding_mask"]),
            weights_BC,
            negative["encoder_token_ids"],
            negative["encoder_padding_mask"],
        )

    def encode_images(self, images):
        """Image tokens of pictures, by the VQGAN.

        Args:
            images: a picture of any size, a list of such, or a batch: arrays [H, W, C]
                or [B, H, W, C], uint8 or float from 0 to 1, of grey, RGB, and either
                with alpha, which is laid on white; or Pillow images. The middle square
                is resized to the VQGAN's size.

        Returns:
            int32 [B, T], or [T] for one picture without a batch. A picture's tokens are
            the same in any batch.

        Raises:
            ValueError: a picture has another shape, dtype or range, or the model has no
                VQGAN.
        """
        return encode_images(self, images)

    def decode_tokens(self, image_tokens):
        """Pictures of image tokens, by the VQGAN.

        Args:
            image_tokens: int [B, T], or [T] for one picture, each below the VQGAN's
                `codebook_size`.

        Returns:
            uint8 [B, H, W, 3], or [H, W, 3]: what `generate` returns for these tokens.

        Raises:
            ValueError: a wrong shape, type or token, or the model has no VQGAN.
        """
        return decode_tokens(self, image_tokens)

    def score(self, inputs, *, scoring_mode="log_likelihood", per_token=False):
        """How likely pictures are for prompts.

        Probabilities are over the VQGAN's codes, without guidance or temperature. A
        picture's score depends on its own prompt alone: it is the same in any batch.

        Args:
            inputs: a dictionary with `prompts`, one text for all pictures or one a
                picture, and either `images`, a batch or a list as of `encode_images`,
                or `image_tokens` int [B, T], such as `generate(...,
                return_tokens=True)` gives. Pictures go through the VQGAN, which loses
                some of them.
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
        self.require_vqgan("Scoring")
        self._require_preprocessor("Scoring")
        scores = scoring.score_in_batches(self, inputs, scoring_mode, per_token)
        warn_of_prompts(self.preprocessor, np.atleast_1d(inputs["prompts"]))
        return scores

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
        self.require_vqgan("Scoring")
        return scoring.score_rows(self, prompt, image_tokens, scoring_mode)

    def _require_preprocessor(self, purpose):
        if self.preprocessor is None:
            raise ValueError(
                f"{purpose} needs a preprocessor, which reads the prompts. Received: "
                "preprocessor=None. Set `preprocessor`; without one, `generate` takes "
                "token ids."
            )

    def require_vqgan(self, purpose):
        if self.vqgan is None:
            raise ValueError(
                f"{purpose} needs a VQGAN. Pass `vqgan=VQGANBackbone.from_preset(...)` "
                "to `DalleBartTextToImage` or to its `from_preset`. On the command "
                "line, `keras-dalle convert MODEL --vqgan VQGAN --to PRESET` makes a "
                "preset of both."
            )
        return self.vqgan


def _generate_function(task):
    length = task.backbone.image_length
    if task.preprocessor is None:
        prompt_specs = [tf.TensorSpec([None, task.backbone.max_text_length], tf.int32)]
        prompt_specs, read_prompts = 4 * prompt_specs, Prompts.of_one_each
    else:
        prompt_specs = 2 * [tf.TensorSpec([None], tf.string)]
        read_prompts = task.tokenized_prompts
    signature = [
        *prompt_specs,
        *(tf.TensorSpec([None], p.dtype) for p in PARAMETERS),
        *(tf.TensorSpec([None, length], x) for x in (tf.int32, tf.bool)),
    ]

    def generate_rows(*columns):
        prompts = read_prompts(*columns[: len(prompt_specs)])
        values = columns[len(prompt_specs) : -2]
        names = [p.name for p in PARAMETERS]
        parameters = dict(zip(names, values, strict=True))
        return _draw(task, prompts, Known(*columns[-2:]), parameters)

    return tf.function(generate_rows, input_signature=signature, autograph=False)


def _draw(task, prompts, known, parameters):
    """Draws pictures and image tokens for a `Prompts`."""
    vqgan = task.require_vqgan("Generation")
    tokens_BT = generate_image_tokens(
        task.backbone,
        prompts,
        parameters,
        codebook_size=vqgan.codebook_size,
        known=known,
    )
    images_BHWC = decode_one_by_one(vqgan, tokens_BT)
    return {"images": images_BHWC, "image_tokens": tokens_BT}
