"""A step of fine-tuning changes the weights it names, and no other."""

import keras
import numpy as np
import pytest

from keras_dalle.models import DalleBartTextToImage
from keras_dalle.trainer.fine_tuning import FineTuning
from tests.tiny_preset import tiny_task

ENCODER = ("text_", "encoder_")
IMAGE_EMBEDDINGS = (
    "image_token_embedding/",
    "image_position_embedding/",
    "image_embedding_norm/",
    "decoder_final_norm/",
    "image_head/",
)
EXAMPLES = {
    "captions": ["a red square", "a blue circle"],
    "image_tokens": np.random.default_rng(0).integers(0, 32, (2, 16)),
}


def trained(fine_tuning):
    """A task after a few steps, and the paths of the weights that they changed."""
    task = tiny_task()
    fine_tuning.apply(task)
    before = {v.path: v.numpy() for v in task.weights}
    # Momentum without decay: what has no gradient stays as it is.
    task.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9))
    task.fit(EXAMPLES, batch_size=2, epochs=3, verbose=0)
    changed = {v.path for v in task.weights if np.any(v.numpy() != before[v.path])}
    return task, changed


def paths(task):
    return {v.path for v in task.backbone.weights}


def test_all():
    task, changed = trained(FineTuning())
    # The positions that no caption reaches have no gradient, but their table has.
    assert changed == paths(task)


def test_embeddings_only():
    task, changed = trained(FineTuning(embeddings_only=True))
    assert changed == {
        path for path in paths(task) if path.startswith(IMAGE_EMBEDDINGS)
    }
    assert len(changed) == 6  # the last norm has no scale


def test_frozen_encoder():
    task, changed = trained(FineTuning(frozen_encoder=True))
    assert changed == {path for path in paths(task) if not path.startswith(ENCODER)}


def lora_paths(task, names):
    factors = {f"{name}/lora_kernel_{side}" for name in names for side in "ab"}
    return {path for path in paths(task) if path.endswith(tuple(factors))}


def test_lora():
    task, changed = trained(FineTuning(lora_rank=2))
    assert changed == lora_paths(task, ["query", "value"])
    # Query and value of three attentions, value of two gated linear units.
    assert len(changed) == 2 * (3 * 2 + 2)


def test_lora_on_chosen_layers_of_the_decoder():
    fine_tuning = FineTuning(
        lora_rank=2, lora_layers=("key", "attention_output"), frozen_encoder=True
    )
    task, changed = trained(fine_tuning)
    expected = lora_paths(task, ["key", "attention_output"])
    assert changed == {path for path in expected if path.startswith("decoder_")}


def logits(task):
    rng = np.random.default_rng(1)
    return task.backbone(
        {
            "encoder_token_ids": rng.integers(3, 50, (2, 16)),
            "encoder_padding_mask": np.ones((2, 16)),
            "decoder_token_ids": rng.integers(0, 32, (2, 16)),
        }
    )["logits"]


def test_lora_is_merged_into_a_preset(tmp_path):
    task, _ = trained(FineTuning(lora_rank=2))
    task.save_to_preset(str(tmp_path / "preset"))
    loaded = DalleBartTextToImage.from_preset(str(tmp_path / "preset"))
    assert not any("lora" in path for path in paths(loaded))
    np.testing.assert_allclose(logits(loaded), logits(task), atol=1e-5)
    assert np.max(np.abs(logits(loaded) - logits(tiny_task()))) > 1e-2
    np.testing.assert_array_equal(
        loaded.generate("red", seed=1), task.generate("red", seed=1)
    )


def test_lora_factors_are_saved_alone(tmp_path):
    task, _ = trained(FineTuning(lora_rank=2))
    path = str(tmp_path / "red.lora.h5")
    task.backbone.save_lora_weights(path)
    other = tiny_task()
    other.backbone.load_lora_weights(path)
    np.testing.assert_array_equal(logits(other), logits(task))


def test_choices_that_exclude_each_other():
    with pytest.raises(ValueError, match="must stand alone.*lora_rank=4"):
        FineTuning(embeddings_only=True, lora_rank=4)
    with pytest.raises(ValueError, match="must come with a `lora_rank`"):
        FineTuning(lora_layers=("query",))


def test_unknown_layer():
    fine_tuning = FineTuning(lora_rank=2, lora_layers=("query", "quarry"))
    with pytest.raises(ValueError, match=r"Received: \['quarry'\].*'attention_output'"):
        fine_tuning.apply(tiny_task())
