"""Training a VQGAN with `model.fit`."""

# B batch, H height, W width, E width of a code, N positions

import keras
import numpy as np
from keras import ops

from keras_dalle.models.resumable import Resumable


@keras.saving.register_keras_serializable(package="keras_dalle")
class VQGANTrainer(Resumable, keras.Model):
    """Trains a `VQGANBackbone` to give back the pictures it is shown.

    The loss is the mean absolute error, plus the mean squared error, plus the
    quantizer's loss. The adversarial and perceptual terms of the VQGAN paper have
    their place in `compute_loss`.

    `fit` takes uint8 pictures [B, H, W, 3]. Reported beside the loss: `psnr` in dB and
    `quantization_loss`.

    Args:
        backbone: a `VQGANBackbone`.
    """

    def __init__(self, backbone, **kwargs):
        super().__init__(**kwargs)
        if not backbone.trainable_weights:
            raise ValueError(
                "`backbone` must be trainable. A `DalleBartTextToImage` freezes its "
                "VQGAN: set `backbone.trainable = True` first."
            )
        if backbone.quantizer_kind is None:
            raise ValueError(
                "`backbone` must have an encoder to be trained on pictures. This one "
                "is a decoder alone (`quantizer=None`)."
            )
        self.backbone = backbone
        self.psnr = keras.metrics.Mean(name="psnr")
        self.quantization_loss = keras.metrics.Mean(name="quantization_loss")
        self.built = True  # as the backbone is

    def build(self, input_shape):
        self.built = True

    def call(self, images, training=None):
        values = self.backbone.pixels_to_values(images)
        outputs = dict(self.backbone(values, training=training))
        outputs["values"] = values
        return outputs

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        low, high = self.backbone.value_range
        difference_BHWC = (y_pred["reconstruction"] - y_pred["values"]) / (high - low)
        difference_BHWC = ops.cast(difference_BHWC, "float32")
        squared_B = ops.mean(ops.square(difference_BHWC), axis=(1, 2, 3))
        quantization_loss = ops.mean(y_pred["quantization_loss"])
        self.quantization_loss.update_state(quantization_loss)
        self.psnr.update_state(-10.0 * ops.log10(squared_B + 1e-10))
        absolute = ops.mean(ops.abs(difference_BHWC))
        return absolute + ops.mean(squared_B) + quantization_loss

    def get_config(self):
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**{**config, "backbone": backbone})


class RestartDeadCodes(keras.callbacks.Callback):
    """Moves unused codebook entries onto vectors that the encoder now produces.

    Before the first epoch every code is placed so; later, at the start of each epoch
    up to `until_epoch`, those that none of `images` uses. A codebook left to the
    gradient alone settles on a few codes, since an unused one has no gradient (Dhariwal
    et al., 2020, "Jukebox", section 3.3: random restarts).

    Args:
        images: uint8 [N, H, W, 3], a sample of the training pictures.
        until_epoch: int. The first epoch without a restart.
        seed: int. Seed of the choice among the encoder's vectors.
    """

    def __init__(self, images, until_epoch, seed=0):
        super().__init__()
        self.images = images
        self.until_epoch = until_epoch
        self.seed = seed

    def on_train_begin(self, logs=None):
        kind = self.model.backbone.quantizer_kind
        if kind != "nearest":
            raise ValueError(
                "`RestartDeadCodes` needs codes in the space of the encoder's vectors: "
                f"`quantizer` must be 'nearest'. Received: {kind!r}."
            )

    def on_epoch_begin(self, epoch, logs=None):
        if epoch >= self.until_epoch:
            return
        quantizer = self.model.backbone.quantizer
        z_NE = self._encoded_vectors()
        used = np.zeros(quantizer.codebook_size, bool)
        if epoch > 0:
            used[np.unique(quantizer.to_indices(z_NE))] = True
        generator = np.random.default_rng([self.seed, epoch])
        dead = np.flatnonzero(~used)
        codebook_CE = np.array(quantizer.codebook)
        codebook_CE[dead] = z_NE[generator.integers(0, len(z_NE), len(dead))]
        quantizer.codebook.assign(codebook_CE)

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            indices = self.model.backbone.quantizer.to_indices(self._encoded_vectors())
            logs["codes_in_use"] = len(np.unique(indices))

    def _encoded_vectors(self):
        backbone = self.model.backbone
        vectors = [
            np.asarray(backbone.encode_latents(backbone.pixels_to_values(batch)))
            for batch in np.array_split(self.images, max(1, len(self.images) // 64))
        ]
        return np.concatenate(vectors).reshape(-1, backbone.embedding_dim)
