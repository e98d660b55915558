"""DALL·E mini as a Keras task: `fit` on captioned pictures, `generate` from prompts."""

# B batch, S text tokens, T image tokens, V image vocabulary + 1, H height, W width

import keras
import keras_hub
import tensorflow as tf

from keras_dalle.generation.drawing import Drawing
from keras_dalle.generation.parameters import defaults_of
from keras_dalle.layers.blank_caption import BlankCaptionDropout
from keras_dalle.layers.narrow_weights import policy_of_weights
from keras_dalle.layers.shift_right import ShiftRight
from keras_dalle.layers.token_noise import TokenNoise
from keras_dalle.models.dalle_bart.checked_training import CheckedTraining
from keras_dalle.models.dalle_bart.dalle_bart_backbone import DalleBartBackbone
from keras_dalle.models.dalle_bart.dalle_bart_presets import vqgan_of
from keras_dalle.models.dalle_bart.dalle_bart_text_to_image_preprocessor import (
    DalleBartTextToImagePreprocessor,
)
from keras_dalle.models.dalle_bart.token_accuracy import TokenAccuracy
from keras_dalle.models.dalle_bart.training_inputs import (
    checked_sample,
    checked_tokens,
)
from keras_dalle.models.narrow_by_loading import NarrowByLoading
from keras_dalle.models.original_checkpoints import FromOriginalCheckpoint
from keras_dalle.models.resumable import Resumable
from keras_dalle.models.vqgan.fitting import require_fitting_vqgan
from keras_dalle.models.vqgan.vqgan_backbone import VQGANBackbone
from keras_dalle.optimizers.adamw import AdamW
from keras_dalle.utils.foreign_values import shortened


@keras.saving.register_keras_serializable(package="keras_dalle")
class DalleBartTextToImage(
    FromOriginalCheckpoint,
    NarrowByLoading,
    CheckedTraining,
    Resumable,
    Drawing,
    keras_hub.models.TextToImage,
):
    """DALL·E mini: trains on captioned pictures, draws pictures for prompts.

    `fit`, `evaluate` and `predict` take dictionaries with `captions` (strings) and
    either `images` (pictures as `generate` takes them, which the VQGAN turns into
    tokens in the input pipeline) or `image_tokens` (int [B, T]), or datasets of
    batches of them.

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
        compile: bool. True compiles the model with the defaults of `compile`.
        **kwargs: of `keras_hub.models.TextToImage`.

    Example:
    ```python
    text_to_image = keras_dalle.DalleBartTextToImage.from_preset("emoji_tiny")
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
    instead_of_quantize = (
        'Load it with `from_preset(preset, weights="int8")`, or "bfloat16". From a '
        'model in memory `with_weights(model, "int8")` makes another one; it is in '
        "`keras_dalle.models.dalle_bart.with_weights`."
    )

    # Within `from_preset`, a VQGAN that is passed keeps its own weights.
    _has_given_vqgan = False

    def __init__(
        self,
        backbone,
        preprocessor=None,
        vqgan=None,
        blank_caption_rate=0.0,
        image_token_noise=0.0,
        generation_defaults=None,
        compile=True,
        **kwargs,
    ):
        if vqgan is not None:
            _require_vqgan_backbone(vqgan)
            require_fitting_vqgan(backbone, vqgan)

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
        # Not `TextToImage`'s own constructor, which compiles whatever `compile` says.
        super(keras_hub.models.TextToImage, self).__init__(
            inputs=inputs, outputs=outputs["logits"], compile=compile, **kwargs
        )

        # === Config ===
        self.vqgan = vqgan
        self._freeze_vqgan()
        self.blank_caption_rate = blank_caption_rate
        self.image_token_noise = image_token_noise
        self.generation_defaults = defaults_of(generation_defaults)

    @property
    def trainable(self):
        """Says if the model is trained. Its VQGAN never is, whatever is set here."""
        return super().trainable

    @trainable.setter
    def trainable(self, value):
        keras_hub.models.TextToImage.trainable.fset(self, value)
        self._freeze_vqgan()

    def _freeze_vqgan(self):
        vqgan = getattr(self, "vqgan", None)  # Keras sets `trainable` while it builds.
        if vqgan is not None:
            # Keras hands only a change of `trainable` on to a model's layers.
            vqgan.trainable = True
            vqgan.trainable = False

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
        self._jit_compile_is_auto = jit_compile == "auto"
        if self._jit_compile_is_auto and not _has_accelerator():
            jit_compile = False
        super().compile(
            optimizer=optimizer,
            loss=loss,
            metrics=metrics,
            jit_compile=jit_compile,
            **kwargs,
        )

    def get_compile_config(self):
        config = super().get_compile_config()
        if config and self._jit_compile_is_auto:
            # The file may be loaded on a machine without this one's accelerator.
            config["jit_compile"] = "auto"
        return config

    @tf.autograph.experimental.do_not_convert
    def preprocess_samples(self, x, y=None, sample_weight=None):
        x = checked_sample(self, x)
        if self.preprocessor is None and y is not None:
            y = checked_tokens(y, self.backbone, "y")
        if sample_weight is not None and len(sample_weight.shape) == 1:
            sample_weight = sample_weight[:, None]  # One for all tokens of a picture.
        data = super().preprocess_samples(x, y, sample_weight)
        return data if self.preprocessor is None else _with_known_rows(data)

    def export(
        self, filepath, format="tf_saved_model", verbose=None, input_signature=None
    ):
        """Writes the SavedModel from prompts to PNG, as `keras-dalle export` does.

        `keras_dalle.saved_model.exporter.export_saved_model` numbers versions, checks
        what it wrote and can narrow the weights.

        Args:
            filepath: the SavedModel's folder, which must not exist. For TF Serving, its
                name is a number.
            format: must be `"tf_saved_model"`.
            verbose: bool. True prints the folder.
            input_signature: must be `None`, since the signatures are the server's.

        Raises:
            FileExistsError: `filepath` is there already.
            ValueError: another format or signature is given, or there is no
                preprocessor or no VQGAN.
        """
        if format != "tf_saved_model" or input_signature is not None:
            raise ValueError(
                "`export` writes format='tf_saved_model' with the signatures of "
                f"`keras-dalle export`. Received: format={shortened(format)}, "
                f"input_signature={shortened(input_signature)}. Leave both out, or "
                "export `backbone`, a Keras model from token ids to logits."
            )
        self.require_vqgan("Export")
        if self.preprocessor is None:
            raise ValueError(
                "Export needs a preprocessor, which reads the prompts. Received: "
                "preprocessor=None. Set `preprocessor` first."
            )
        # Late, since the exporter stands above the models.
        from keras_dalle.saved_model.exporter import export_to_folder

        export_to_folder(self, filepath)
        if verbose:
            print(f"The SavedModel is in {filepath}")

    def has_task_weights(self):
        return self.vqgan is not None

    def save_task_weights(self, filepath):
        self.require_vqgan("Saving task weights").save_weights(filepath)

    def load_task_weights(self, filepath):
        if self._has_given_vqgan:  # KerasHub calls this for any preset's file.
            return
        self.require_vqgan("Loading task weights").load_weights(filepath)

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
    def from_preset(cls, preset, *args, weights=None, **kwargs):
        """As KerasHub's, and on originals; `vqgan=` replaces the preset's VQGAN.

        The originals' folders hold no VQGAN; the registered ones know theirs.
        `weights`, for generation, is how the backbone's weights are held in memory:
        `"float32"`, `"bfloat16"` or `"int8"`; what is computed with is float32. `None`
        is as the preset was saved, and leaves it to `dtype`.
        """
        if weights is not None:
            if kwargs.get("dtype") is not None:
                raise ValueError(
                    "Either `weights` or `dtype` must be given. Received: "
                    f"weights={weights!r}, dtype={kwargs['dtype']!r}."
                )
            kwargs["dtype"] = policy_of_weights(weights)
        if vqgan := vqgan_of(preset):
            kwargs = {"vqgan": vqgan, **kwargs}
        task = super().from_preset(preset, *args, **kwargs)
        task._has_given_vqgan = False
        return task

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
        is_given = not isinstance(config.get("vqgan"), dict | None)
        if isinstance(config.get("vqgan"), dict):
            vqgan = keras.saving.deserialize_keras_object(config["vqgan"])
            if not isinstance(vqgan, VQGANBackbone):
                raise ValueError(
                    "`vqgan` in task.json must be a VQGANBackbone. Received: "
                    f"{type(vqgan).__name__}."
                )
            config = {**config, "vqgan": vqgan}
        task = super().from_config(config)
        task._has_given_vqgan = is_given
        return task


def _require_vqgan_backbone(vqgan):
    if not isinstance(vqgan, VQGANBackbone):
        raise ValueError(
            "`vqgan` must be a VQGANBackbone. Received: "
            f"{shortened(vqgan)} ({type(vqgan).__name__}). Pass "
            "`VQGANBackbone.from_preset(...)`."
        )


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
