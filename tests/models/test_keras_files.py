"""Models from `.keras` files continue their training bit for bit."""

import hashlib
import io
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from keras_dalle.models import DalleBartBackbone, DalleBartTextToImage, VQGANBackbone
from keras_dalle.models.vqgan.vqgan_trainer import VQGANTrainer
from keras_dalle.optimizers.adamw import AdamW
from keras_dalle.optimizers.distributed_shampoo import DistributedShampoo
from keras_dalle.optimizers.schedules import WarmUp
from keras_dalle.trainer.fine_tuning import FineTuning
from tests.models.test_vqgan_trainer import TINY as TINY_VQGAN
from tests.tiny_preset import tiny_task

CAPTIONS = ["a green leaf", "two boats", "", "snow on a roof", "an owl", "rain"]
TOKENS = np.random.default_rng(5).integers(0, 32, (6, 16)).astype("int32")
IMAGES = np.random.default_rng(6).integers(0, 256, (6, 8, 8, 3)).astype("uint8")
EXAMPLES = {"captions": CAPTIONS, "image_tokens": TOKENS}


def noisy_task(**options):
    """A tiny task in whose training everything random takes part."""
    tiny = tiny_task()
    config = {**tiny.backbone.get_config(), "dropout": 0.2, "attention_dropout": 0.1}
    rates = {"blank_caption_rate": 0.3, "image_token_noise": 0.4}
    backbone = DalleBartBackbone.from_config(config)
    return DalleBartTextToImage(
        backbone, tiny.preprocessor, tiny.vqgan, **rates, **options
    )


def adamw():
    decay = keras.optimizers.schedules.PolynomialDecay(3e-3, 20)
    return AdamW(WarmUp(decay, warmup_steps=2), clipnorm=0.5, use_ema=True)


def shampoo():
    return DistributedShampoo(
        WarmUp(2e-3, warmup_steps=1),
        start_preconditioning_step=2,
        preconditioning_interval=1,
        weight_decay=0.01,
        groups=("decoder_layer", "embedding$"),
        gradient_accumulation_steps=2,
    )


def load(path):
    with warnings.catch_warnings():
        # Keras warns where it leaves something out.
        warnings.simplefilter("error", UserWarning)
        return keras.models.load_model(path)


def state(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def digest(model):
    """One text for all weights, random states and variables of the optimizer."""
    return hashlib.sha256(b"".join(x.tobytes() for x in state(model))).hexdigest()


def train(model, data, **options):
    return model.fit(data, batch_size=2, verbose=0, shuffle=False, **options)


# === Training goes on ===


def interrupted(task, folder, **options):
    """The file after one epoch of two; the task has trained for both."""
    task.compile(**options)
    checkpoint = keras.callbacks.ModelCheckpoint(folder / "{epoch}.keras")
    train(task, EXAMPLES, epochs=2, callbacks=[checkpoint])
    return folder / "1.keras"


def test_a_loaded_checkpoint_trains_on_bit_for_bit(tmp_path):
    task = noisy_task()
    loaded = load(interrupted(task, tmp_path, optimizer=adamw()))
    assert type(loaded) is DalleBartTextToImage and loaded.compiled
    assert int(loaded.optimizer.iterations) == 3
    history = train(loaded, EXAMPLES, initial_epoch=1, epochs=2).history
    assert set(history) == {"loss", "perplexity", "token_accuracy"}
    for found, expected in zip(state(loaded), state(task), strict=True):
        np.testing.assert_array_equal(found, expected)


IN_A_FRESH_PROCESS = """
import sys
import keras
import keras_dalle.models
task = keras.models.load_model(sys.argv[1])
from tests.models import test_keras_files as here
here.train(task, here.EXAMPLES, initial_epoch=1, epochs=2)
print(len(task.trainable_variables), here.digest(task))
"""


def test_one_import_is_enough_in_a_fresh_process(tmp_path):
    """Uses Shampoo, for which frozen layers matter most."""
    task = noisy_task()
    FineTuning(embeddings_only=True).apply(task)
    # Eagerly, since Shampoo's step takes long to trace.
    path = interrupted(task, tmp_path, optimizer=shampoo(), run_eagerly=True)
    reply = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", IN_A_FRESH_PROCESS, path],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert reply.returncode == 0, reply.stderr
    expected = f"{len(task.trainable_variables)} {digest(task)}"
    assert reply.stdout.splitlines()[-1] == expected


def test_a_vqgan_in_training_comes_back_too(tmp_path):
    # One that draws codes by a generator of random numbers.
    trainer = VQGANTrainer(VQGANBackbone(**TINY_VQGAN, quantizer="gumbel"))
    trainer.backbone.quantizer.projection.trainable = False
    trainer.compile(AdamW(WarmUp(1e-3, warmup_steps=1)), run_eagerly=True)
    train(trainer, IMAGES)
    trainer.save(tmp_path / "vqgan.keras")
    loaded = load(tmp_path / "vqgan.keras")
    assert len(loaded.trainable_variables) == len(trainer.trainable_variables)
    histories = [train(model, IMAGES).history for model in (trainer, loaded)]
    assert histories[0] == histories[1]
    assert set(histories[0]) == {"loss", "psnr", "quantization_loss"}
    assert digest(loaded) == digest(trainer)


# === What a file says ===


def test_an_untrained_model_loads_without_warnings(tmp_path):
    task = tiny_task()
    task.save(tmp_path / "task.keras")
    loaded = load(tmp_path / "task.keras")
    assert loaded.compiled and type(loaded.optimizer) is AdamW
    tokens = loaded.preprocessor.tokenizer(["a boat"]).to_list()
    assert tokens == task.preprocessor.tokenizer(["a boat"]).to_list()


def test_xla_is_chosen_where_the_file_is_loaded(tmp_path):
    task = tiny_task()
    assert task.get_compile_config()["jit_compile"] == "auto"
    task.compile(jit_compile=True)
    assert task.get_compile_config()["jit_compile"] is True


def test_lora_leaves_an_ordinary_model_and_says_so(tmp_path):
    task = tiny_task()
    FineTuning(lora_rank=2).apply(task)
    task.compile(optimizer=keras.optimizers.SGD(0.1))
    for layer in task.backbone._flatten_layers():
        if getattr(layer, "lora_enabled", False):  # as training would
            layer.lora_kernel_b.assign(keras.ops.ones(layer.lora_kernel_b.shape))
    task.save(tmp_path / "task.keras")
    with pytest.warns(UserWarning, match="LoRA factors merged .* begins anew"):
        loaded = keras.models.load_model(tmp_path / "task.keras")
    assert type(loaded.optimizer) is keras.optimizers.SGD
    assert len(loaded.trainable_variables) > len(task.trainable_variables)
    inputs = keras.tree.map_structure(np.asarray, task.preprocessor(EXAMPLES)[0])
    logits = np.asarray(task(inputs))
    np.testing.assert_allclose(loaded(inputs), logits, atol=1e-5)
    assert np.abs(logits - np.asarray(tiny_task()(inputs))).max() > 0.1


def test_files_of_earlier_versions_load(tmp_path):
    """They name no frozen layers and hold no states of random numbers."""
    task = tiny_task()
    task.compile(optimizer=keras.optimizers.Adam(1e-2))
    task.optimizer.build(task.trainable_variables)
    for variable in task.optimizer.variables:  # as training would
        variable.assign(keras.ops.full(variable.shape, 3, variable.dtype))
    new, old = tmp_path / "new.keras", tmp_path / "old.keras"
    task.save(new)
    with zipfile.ZipFile(new) as source, zipfile.ZipFile(old, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "model.weights.h5":
                content = _without_own_variables(content)
            target.writestr(name, content)
    loaded = load(old)
    expected = task.optimizer.variables
    for found, value in zip(loaded.optimizer.variables, expected, strict=True):
        np.testing.assert_array_equal(found, value)


def _without_own_variables(weights):
    file = io.BytesIO(weights)
    with h5py.File(file, "r+") as group:
        assert len(group["vars"])
        for name in list(group["vars"]):
            del group["vars"][name]
    return file.getvalue()
