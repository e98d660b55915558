"""Layers that are computed twice: the same gradients, in less memory."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.trainer.fine_tuning import FineTuning
from keras_dalle.trainer.gradient_checkpointing import checkpoint_gradients
from tests.distribution.dtensor_models import make_examples, make_task

ROOT = Path(__file__).parents[2]
ON_DEVICES = Path(__file__).with_name("gradient_checkpointing_on_devices.py")
DROPOUT = {"dropout": 0.3, "attention_dropout": 0.2, "activation_dropout": 0.1}


def task_of(checkpointed, fine_tuning=None, **kwargs):
    task = make_task(**kwargs)
    if fine_tuning is not None:
        fine_tuning.apply(task)
        rng = np.random.default_rng(0)
        for weight in task.trainable_weights:
            # LoRA starts with one factor of zeros.
            weight.assign(0.1 * rng.standard_normal(weight.shape))
    if checkpointed:
        checkpoint_gradients(task)
    return task


def gradients_of_calls(task, calls=2):
    """Outputs and gradients, and the states of random numbers that are left."""
    x, y = make_examples()
    results = []
    for _ in range(calls):
        with tf.GradientTape() as tape:
            logits_BTV = tf.cast(task(x, training=True), "float32")
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits_BTV)
            )
        gradients = tape.gradient(loss, [w.value for w in task.trainable_weights])
        results += [logits_BTV, *map(tf.convert_to_tensor, gradients)]
    return [*results, *(v.value for v in task.non_trainable_variables)]


@pytest.mark.parametrize(
    "kwargs",
    [
        DROPOUT,
        {"variant": {"relative_position_bias": True, "use_bias": True}},
        {"dtype": "mixed_bfloat16", **DROPOUT},
        {"fine_tuning": FineTuning(lora_rank=2), **DROPOUT},
        {"fine_tuning": FineTuning(frozen_encoder=True)},
    ],
    ids=["dropout", "variant", "bfloat16", "lora", "frozen"],
)
def test_gradients(kwargs):
    expected = gradients_of_calls(task_of(False, **kwargs))
    results = gradients_of_calls(task_of(True, **kwargs))
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(
            np.asarray(result, "float64"), np.asarray(wanted, "float64"), atol=1e-7
        )


def test_masks_of_two_calls_differ():
    task = task_of(True, **DROPOUT)
    results = gradients_of_calls(task)
    first, second = (x for x in results if x.shape == (8, 16, 64))
    assert np.abs(first - second).max() > 0.01


def test_compiled_by_xla():
    losses, weights = [], []
    for checkpointed in (False, True):
        task = task_of(checkpointed)
        task.compile(
            optimizer=keras.optimizers.SGD(0.1),
            jit_compile=checkpointed,
            run_eagerly=not checkpointed,
        )
        steps = [task.train_on_batch(*make_examples())[0] for _ in range(3)]
        losses.append(steps)
        weights.append(task.get_weights())
    np.testing.assert_allclose(losses[1], losses[0], atol=1e-5)
    for ours, plain in zip(weights[1], weights[0], strict=True):
        np.testing.assert_allclose(ours, plain, atol=1e-5)


def test_without_training_nothing_changes():
    plain, checkpointed = task_of(False), task_of(True)
    x, _ = make_examples()
    np.testing.assert_array_equal(checkpointed(x), plain(x))
    layers = (checkpointed.backbone.decoder_layers[0], plain.backbone.decoder_layers[0])
    assert layers[0].get_config() == layers[1].get_config()


def test_mistakes_name_their_remedy():
    task = task_of(True)
    with pytest.raises(ValueError, match="must be called once"):
        checkpoint_gradients(task)
    task = task_of(False)
    task.compile(run_eagerly=True)
    task.train_on_batch(*make_examples())
    with pytest.raises(ValueError, match="must come before training steps"):
        checkpoint_gradients(task)


# === In processes of their own ===


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        text=True,
    )


# TensorFlow's collective operations serve a mesh or a strategy, not both.
@pytest.mark.parametrize("name", ["mesh", "mirrored"])
def test_on_eight_devices(name):
    process = start("-m", "pytest", str(ON_DEVICES), "-k", name)
    output, _ = process.communicate()
    assert process.returncode == 0, output


# Attention weights of 4 layers, 24 × 8 × 256 × 256 × 4 bytes each, are most of what a
# step keeps. Not `ru_maxrss`, which begins with the memory of the parent process.
TAKE_A_STEP = """
import re, sys
import keras, numpy as np
from keras_dalle.trainer.gradient_checkpointing import checkpoint_gradients
from tests.distribution.dtensor_models import make_task

def peak_in_mib():
    status = open("/proc/self/status").read()
    return int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 1024

task = make_task(image_length=256, num_decoder_layers=4)
if sys.argv[1] == "checkpointed":
    checkpoint_gradients(task)
task.compile(optimizer=keras.optimizers.SGD(0.1), jit_compile=False)
tokens = np.zeros((24, 256), "int32")
text = np.ones((24, 8), "int32")
x = {"encoder_token_ids": text, "encoder_padding_mask": text, "image_tokens": tokens}
before = peak_in_mib()
task.train_on_batch(x, tokens)
print(peak_in_mib() - before)
"""


def test_memory():
    processes = [
        start("-c", TAKE_A_STEP, argument) for argument in ("plain", "checkpointed")
    ]
    plain, checkpointed = (float(p.communicate()[0]) for p in processes)
    # 515 and 314 MiB; with 8 layers 861 and 394.
    assert checkpointed < 0.75 * plain, (checkpointed, plain)
