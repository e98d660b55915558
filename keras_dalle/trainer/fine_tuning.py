"""Which weights of a trained model a run changes."""

import dataclasses

from keras_dalle.models.dalle_bart.dalle_bart_text_to_image import DalleBartTextToImage

_ENCODER = (
    "text_token_embedding",
    "text_position_embedding",
    "text_embedding_norm",
    "encoder_layers",
    "encoder_final_norm",
)


@dataclasses.dataclass(frozen=True)
class FineTuning:
    """A choice of weights; without arguments, all of them.

    Attributes:
        embeddings_only: only what is bound to the image tokens, as for another VQGAN:
            their embedding, their positions, the norms after these and before the
            head, and the head. They are those of `embeddings_only` in DALL·E mini's
            `train.py`.
        frozen_encoder: all but the text encoder and its embeddings.
        lora_rank: int or `None`. Only factors of this rank beside the kernels of some
            layers (https://arxiv.org/abs/2106.09685).
        lora_layers: names of these layers; `None` for KerasHub's, `query` and `value`,
            of which the latter is also a kernel of gated linear units.

    Raises:
        ValueError: choices that exclude each other.
    """

    embeddings_only: bool = False
    frozen_encoder: bool = False
    lora_rank: int | None = None
    lora_layers: tuple[str, ...] | None = None

    def __post_init__(self):
        if self.embeddings_only and (self.frozen_encoder or self.lora_rank):
            raise ValueError(
                "`embeddings_only` must stand alone: it freezes all else. Received: "
                f"frozen_encoder={self.frozen_encoder}, lora_rank={self.lora_rank}."
            )
        if self.lora_layers is not None and not self.lora_rank:
            raise ValueError(
                "`lora_layers` must come with a `lora_rank`. Received: "
                f"lora_layers={self.lora_layers}, lora_rank={self.lora_rank}."
            )

    def apply(self, task: DalleBartTextToImage) -> None:
        """Freezes all other weights of a model that is not compiled yet.

        A model with LoRA saves its kernels with the factors merged in, so that the
        preset is that of an ordinary model. `task.backbone.save_lora_weights` saves the
        factors alone.

        Raises:
            ValueError: no layer has a name of `lora_layers`.
        """
        backbone = task.backbone
        if self.embeddings_only:
            _freeze(backbone, (*_ENCODER, "decoder_layers"))
        if self.lora_rank:
            backbone.enable_lora(self.lora_rank, self._layer_names(backbone))
        if self.frozen_encoder:
            _freeze(backbone, _ENCODER)

    def _layer_names(self, backbone):
        names = self.lora_layers or backbone.default_lora_layer_names()
        known = {x.path.rpartition("/")[0].rpartition("/")[2] for x in backbone.weights}
        unknown = sorted(set(self.lora_layers or ()) - known)
        if unknown:
            raise ValueError(
                f"`lora_layers` must be names of layers. Received: {unknown}. Layers "
                f"with weights: {sorted(known)}."
            )
        return list(names)


def _freeze(backbone, names):
    for name in names:
        part = getattr(backbone, name)
        for layer in part if isinstance(part, list) else [part]:
            if layer is not None:
                # Keras hands only a change on to the layers within, and LoRA has
                # frozen this one but not those.
                layer.trainable = True
                layer.trainable = False
