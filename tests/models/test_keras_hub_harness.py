"""KerasHub's own test case, over every public model.

What it asks of each of its models is asked of ours: configurations, calls, `tf.data`,
`fit`, dtypes, files. Steps that ours cannot take are listed where they are left out:

- Grain's pipelines: prompts are read by TensorFlow's graph, which is what a SavedModel
  is made of, and Grain is no dependency. With `tf.data` the same steps run.
- Presets by name (`run_preset_test`): it wants a network; `test_presets.py` has ours.
- Half precision of a VQGAN with Gumbel's quantizer: its loss, a small divergence, would
  be 0, so it is float32.
- Pictures as [B, C, H, W]: ours are [B, H, W, C] on every backend.
- LiteRT (`run_litert_export_test`): this project does without TFLite.
"""

import sys
from types import ModuleType, SimpleNamespace

import keras
import numpy as np
import pytest

from keras_dalle.models import (
    DalleBartBackbone,
    DalleBartTextToImage,
    DalleBartTextToImagePreprocessor,
    DalleBartTokenizer,
    VQGANBackbone,
)
from keras_dalle.models.vqgan.vqgan_trainer import VQGANTrainer
from keras_dalle.text import train_vocabulary


class _GrainIsLeftOut(Exception):
    pass


def _leave_out(*args):
    raise _GrainIsLeftOut


# What the test case finds under the name of Grain, which it imports.
_GRAIN = ModuleType("grain")
_GRAIN.MapDataset = SimpleNamespace(source=_leave_out)
with pytest.MonkeyPatch.context() as patch:
    patch.setitem(sys.modules, "grain", _GRAIN)
    from keras_hub.src.tests import test_case

CAPTIONS = ["a red kite", "two kites", "the sea at night"]
TOKENS = np.random.default_rng(1).integers(0, 16, (3, 9)).astype("int32")
VQGAN = {
    "image_size": 12,
    "base_channels": 32,
    "channel_multipliers": (1,),
    "num_res_blocks": 1,
    "attention_resolutions": (),
    "latent_channels": 4,
    "embedding_dim": 4,
    "codebook_size": 16,
    "patch_size": 4,
}


def tokenizer():
    return DalleBartTokenizer(*train_vocabulary(CAPTIONS * 2, 290))


def preprocessor():
    return DalleBartTextToImagePreprocessor(tokenizer(), max_text_length=10)


BACKBONE = {
    "vocabulary_size": 290,
    "image_vocabulary_size": 16,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
    "num_heads": 2,
    "hidden_dim": 8,
    "encoder_intermediate_dim": 8,
    "decoder_intermediate_dim": 8,
    "max_text_length": 10,
    "image_length": 9,
}


@pytest.fixture
def case():
    """The test case; not a class of this module, whose own tests would be collected."""

    class WithoutGrain(test_case.TestCase):
        def run_grain_preprocessing_test(self, layer, input_data, expected_output):
            """Left out: see above."""

    case = WithoutGrain()
    case.setUp()
    yield case
    case.tearDown()
    case.doCleanups()


# === Text ===


def test_tokenizer(case):
    ids, merges = train_vocabulary(CAPTIONS * 2, 290)
    case.run_preprocessing_layer_test(
        DalleBartTokenizer, {"vocabulary": ids, "merges": merges}, CAPTIONS
    )


@pytest.mark.parametrize("normalize_text", [False, True])
def test_preprocessor(case, normalize_text):
    # The test case makes another one from `init_kwargs` of its own.
    case.init_kwargs = {
        "tokenizer": tokenizer(),
        "max_text_length": 10,
        "normalize_text": normalize_text,
    }
    with pytest.raises(_GrainIsLeftOut):  # the last step
        case.run_preprocessor_test(
            DalleBartTextToImagePreprocessor,
            case.init_kwargs,
            {"captions": CAPTIONS, "image_tokens": TOKENS},
            token_id_key="encoder_token_ids",
        )


# === Backbones ===

BACKBONE_INPUTS = {
    "encoder_token_ids": np.array([[0, 9, 8, 2, 1], [0, 7, 2, 1, 1]]),
    "encoder_padding_mask": np.array([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]]),
    "decoder_token_ids": TOKENS[:2, :6],
}


def test_backbone(case):
    case.run_backbone_test(
        DalleBartBackbone,
        dict(BACKBONE),
        BACKBONE_INPUTS,
        expected_output_shape={
            "encoder_sequence_output": (2, 5, 8),
            "decoder_sequence_output": (2, 6, 8),
            "logits": (2, 6, 17),
        },
    )
    case.run_model_saving_test(DalleBartBackbone, dict(BACKBONE), BACKBONE_INPUTS)


@pytest.mark.parametrize("quantizer", ["nearest", "gumbel", None])
def test_vqgan(case, quantizer):
    arguments = {**VQGAN, "quantizer": quantizer}
    pictures = np.random.default_rng(2).uniform(-1, 1, (2, 12, 12, 3))
    shapes = {"reconstruction": (2, 12, 12, 3)}
    if quantizer is not None:
        shapes |= {"indices": (2, 9), "quantization_loss": (2,)}
    inputs = TOKENS[:2] if quantizer is None else pictures.astype("float32")
    case.run_vision_backbone_test(
        VQGANBackbone,
        arguments,
        inputs,
        expected_output_shape=shapes,
        run_mixed_precision_check=quantizer != "gumbel",
        run_data_format_check=False,
    )
    case.run_model_saving_test(VQGANBackbone, arguments, inputs)


# === Task ===


def task_parts():
    return {
        "backbone": DalleBartBackbone(**BACKBONE),
        "preprocessor": preprocessor(),
        "vqgan": VQGANBackbone(**VQGAN),
    }


def test_task(case):
    data = {"captions": CAPTIONS, "image_tokens": TOKENS}
    case.run_task_test(
        DalleBartTextToImage,
        task_parts(),
        (data,),
        expected_output_shape=(3, 9, 17),
        batch_size=3,
        compile_kwargs={"run_eagerly": True},  # less to trace
    )
    inputs = keras.tree.map_structure(np.asarray, preprocessor()(data)[0])
    case.run_model_saving_test(DalleBartTextToImage, task_parts(), inputs)


# === Trainer of a VQGAN ===


def test_vqgan_trainer(case):
    pictures = np.random.default_rng(3).integers(0, 256, (2, 12, 12, 3), "uint8")
    trainer = VQGANTrainer(VQGANBackbone(**VQGAN))
    case.run_serialization_test(trainer)
    case.run_model_saving_test(
        VQGANTrainer, {"backbone": VQGANBackbone(**VQGAN)}, pictures
    )
