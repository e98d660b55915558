"""Replicas train as one device does; what a TPU compiles, XLA compiles for a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.distribution import strategies
from keras_dalle.distribution.strategies import check_static_shapes, make_strategy
from keras_dalle.optimizers.distributed_shampoo import DistributedShampoo
from keras_dalle.optimizers.schedules import WarmUp
from tests.distribution.mirrored_training import tiny_batches, tiny_task

ROOT = Path(__file__).parents[2]


def run_python(*arguments: str) -> str:
    """Runs Python from the root, in a process with devices of its own."""
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


# === Mirrored ===


@pytest.fixture(scope="module")
def mirrored():
    output = run_python("-m", "tests.distribution.mirrored_training")
    return json.loads(output.splitlines()[-1])


@pytest.mark.parametrize(
    "optimizer", ["sgd", "adamw", "fused_adamw", "recipe", "shampoo"]
)
def test_two_replicas_equal_one_device(mirrored, optimizer):
    for what, difference in mirrored[optimizer].items():
        assert difference < 1e-5, what


# What a Keras user writes who knows nothing of this package's strategies.
USER_SCRIPT = """
import keras, tensorflow as tf
from tests.distribution.mirrored_training import tiny_batches, tiny_task, use_two_cpus

use_two_cpus()
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    model = tiny_task()
    model.compile(optimizer=keras.optimizers.AdamW(1e-2))
history = model.fit(tiny_batches(), epochs=4, verbose=0)
assert history.history["loss"][-1] < history.history["loss"][0]
assert model.evaluate(tiny_batches(), verbose=0, return_dict=True)["loss"] > 0
print(strategy.num_replicas_in_sync)
"""


def test_a_plain_script_with_a_scope():
    assert run_python("-c", USER_SCRIPT).split()[-1] == "2"


def test_default_is_the_strategy_whose_scope_is_open():
    assert make_strategy() is tf.distribute.get_strategy()
    other = tf.distribute.OneDeviceStrategy("CPU:0")
    with other.scope():
        assert make_strategy("default") is other


def test_unknown_strategy():
    with pytest.raises(ValueError, match=r"must be one of \('default'.*'miror'"):
        make_strategy("miror")


# === TPU ===


OPTIMIZERS = {
    "adamw": lambda: keras.optimizers.AdamW(WarmUp(1e-3, 1)),
    "accumulating": lambda: keras.optimizers.AdamW(1e-3, gradient_accumulation_steps=3),
    "shampoo": lambda: DistributedShampoo(1e-3, start_preconditioning_step=2),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_train_step_compiles_under_xla(optimizer):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = tiny_task()
    finally:
        keras.config.set_dtype_policy(policy)
    model.compile(optimizer=OPTIMIZERS[optimizer](), jit_compile=False)
    batches = check_static_shapes(tiny_batches())
    batch = next(iter(batches))
    # `fit` builds these before its first step.
    model.evaluate(batches, verbose=0)
    model.optimizer.build(model.trainable_variables)

    compiled = tf.function(model.train_step, jit_compile=True)
    losses = [float(compiled(batch)["loss"]) for _ in range(2)]

    assert np.isfinite(losses).all()
    assert compiled.experimental_get_tracing_count() == 1
    assert int(model.optimizer._iterations) == 2


def test_several_steps_an_execution():
    model = tiny_task()
    model.compile(optimizer="sgd", steps_per_execution=2, jit_compile=True)
    batches = check_static_shapes(tiny_batches(rows=32))
    model.fit(batches, verbose=0)
    assert int(model.optimizer.iterations) == 4


def test_batches_of_unknown_shape():
    dataset = tf.data.Dataset.range(5).batch(2)
    with pytest.raises(
        ValueError, match=r"Received: \(None,\) int64. .*remainder=True"
    ):
        check_static_shapes(dataset)
    static = tf.data.Dataset.range(5).batch(2, drop_remainder=True)
    assert check_static_shapes(static) is static


@pytest.fixture
def no_connection_yet():
    strategies._tpu_strategy.cache_clear()
    yield
    strategies._tpu_strategy.cache_clear()


@pytest.mark.parametrize("address", [None, "", "no-such-tpu"])
def test_missing_tpu(monkeypatch, no_connection_yet, address):
    monkeypatch.delenv("TPU_NAME", raising=False)
    if address is not None:
        monkeypatch.setenv("TPU_NAME", address)
    message = rf"must find a TPU at '{address or ''}.*set TPU_NAME .*`mirrored`"
    with pytest.raises(RuntimeError, match=message):
        make_strategy("tpu")
    assert int(tf.constant(1) + 1) == 2


def test_tpu_is_connected_to_once(monkeypatch, no_connection_yet):
    connected = []
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver
    monkeypatch.setattr(resolver, "connect", lambda address: connected.append(address))
    monkeypatch.setattr(tf.distribute, "TPUStrategy", lambda resolver: "a strategy")
    monkeypatch.setenv("TPU_NAME", "grpc://10.0.0.2:8470")
    assert make_strategy("tpu") == make_strategy("tpu") == "a strategy"
    assert connected == ["grpc://10.0.0.2:8470"]
