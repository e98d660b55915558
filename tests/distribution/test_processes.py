"""Several processes train one model, and end together."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.distribution.process_rows import local_batches, process_shard
from keras_dalle.distribution.processes import is_first_process, join
from training.launch import environment, free_ports

ROOT = Path(__file__).parents[2]
LOOP = "tests.distribution.process_loop"
NAMESPACES = Path(__file__).with_name("process_namespaces.sh")
ENOUGH_SECONDS = 120


def launch(*command, devices=4):
    return subprocess.run(
        [
            *[sys.executable, "-m", "training.launch", "--processes", "2"],
            *["--devices", str(devices), "-m", *map(str, command)],
        ],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def start(jobs, index, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**environment(jobs, index), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def jobs():
    port = free_ports(3)
    return [f"127.0.0.1:{port + 1}", f"127.0.0.1:{port + 2}"]


def test_training_equals_that_of_one_device(tmp_path):
    result = launch("tests.distribution.process_training", tmp_path)
    assert result.returncode == 0, result.stdout
    for optimizer in ("sgd", "adamw", "adafactor", "shampoo"):
        for process in (0, 1):
            assert f"[{process}] {optimizer} on {{" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["process_0", "run"]
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        *("checkpoints", "history.csv", "plan.json", "preset", "tensorboard")
    }
    epochs = (tmp_path / "run" / "history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in epochs] == ["epoch", "0", "1"]


@pytest.mark.parametrize("victim", [0, 1])
def test_lost_process(victim, jobs):
    processes = [start(jobs, index, LOOP, "60") for index in (0, 1)]
    while "Step 2" not in (line := processes[victim].stdout.readline()):
        assert line, processes[victim].stderr.read()
    processes[victim].kill()
    survivor = processes[1 - victim]
    _, errors = survivor.communicate(timeout=ENOUGH_SECONDS)
    processes[victim].communicate()
    assert survivor.returncode == 1
    assert f"process {victim} of 2 ({jobs[victim]}) was lost" in errors


@pytest.mark.parametrize("missing", [0, 1])
def test_process_that_never_starts(missing, jobs):
    process = start(jobs, 1 - missing, LOOP, "2")
    _, errors = process.communicate(timeout=ENOUGH_SECONDS)
    assert process.returncode == 1
    assert f"process {missing} of 2 ({jobs[missing]}) did not start" in errors
    assert "within 2 s" in errors


GUARDED = """
import ctypes, sys
from keras_dalle.distribution.process_guard import guarded
from keras_dalle.distribution.process_link import ProcessLink
index, port, seconds = map(int, sys.argv[1:])
link = ProcessLink(["a:1", "b:1"], index, "127.0.0.1", port, 30)
if index == 0:
    with guarded(link.connections, seconds):
        print("guarded", file=sys.stderr, flush=True)
        ctypes.PyDLL(None).sleep(60)  # As TensorFlow, with Python's lock.
else:
    sys.stdin.read()
"""


@pytest.mark.parametrize(
    "seconds, loses, message",
    [
        (60, True, "process 1 of 2 (b:1) was lost while TensorFlow connected all"),
        (1, False, "did not connect all processes within 1 s"),
    ],
)
def test_guard(seconds, loses, message):
    port = free_ports(1)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", GUARDED, str(index), str(port), str(seconds)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in (0, 1)
    ]
    assert processes[0].stderr.readline() == "guarded\n"
    if loses:
        processes[1].communicate("", timeout=ENOUGH_SECONDS)
    _, errors = processes[0].communicate(timeout=ENOUGH_SECONDS)
    assert processes[0].returncode != 0
    assert message in errors
    processes[1].communicate("", timeout=ENOUGH_SECONDS)


def test_launcher_ends_all_when_one_fails():
    result = launch(LOOP, "60", "3", "fail", devices=2)
    assert result.returncode == 1
    reason = "RuntimeError: as the test wants it"
    for process in (0, 1):
        assert f"[{process}] This is process {process} of 2" in result.stdout
    assert result.stdout.count(reason) == 3  # with the traceback
    assert "so the others end too" in result.stderr


def test_launcher_help():
    result = subprocess.run(
        [sys.executable, "-m", "training.launch", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "python -m training.launch --processes 2 --devices 4" in result.stdout


def refusal():
    """Why the kernel makes no network namespaces here, or `None`."""
    result = subprocess.run(
        [*unshare(), "unshare", "-n", "ip", "link", "add", "type", "veth"],
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stderr if result.returncode else None


def unshare():
    return ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-n", "-r"]


def test_two_network_namespaces(tmp_path):
    reason = refusal()
    if reason is not None:
        assert any(
            text in reason
            for text in ("not permitted", "not supported", "Unknown device type")
        ), f"{reason} For a missing `ip`: apt-get install iproute2."
        return
    result = subprocess.run(
        [*unshare(), "sh", NAMESPACES],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHON": sys.executable,
            "OUT": str(tmp_path),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=ENOUGH_SECONDS,
    )
    outputs = [(tmp_path / name).read_text() for name in ("0", "1")]
    assert result.stdout.splitlines() == ["status 1", "status 1"], (result, outputs)
    # The processes' rows of 3 are [step, step] and [step + 1, step + 1].
    assert "Step 3: 42.0" in outputs[0]
    assert "process 1 of 2 (10.99.0.2:24001) was lost: " in outputs[0]
    assert "process 0 of 2 (10.99.0.1:24001) was lost: " in outputs[1]


def mesh(batch, model, devices, process):
    """What `process_shard` reads of the mesh of one of several processes."""
    places = range(process * devices, (process + 1) * devices)
    return SimpleNamespace(
        local_device_locations=lambda: [
            {"batch": place // model, "model": place % model} for place in places
        ],
        dim_size={"batch": batch, "model": model}.__getitem__,
    )


@pytest.mark.parametrize(
    "batch, model, devices, shards",
    [
        (2, 4, 4, [(2, 0), (2, 1)]),
        (4, 2, 4, [(2, 0), (2, 1)]),
        (1, 8, 4, [(1, 0), (1, 0)]),
        (2, 4, 2, [(2, 0), (2, 0), (2, 1), (2, 1)]),
        (2, 4, 8, [(1, 0)]),
    ],
)
def test_process_shard(batch, model, devices, shards):
    for process, shard in enumerate(shards):
        assert process_shard(mesh(batch, model, devices, process)) == shard


@pytest.mark.parametrize("process", range(2))
def test_process_shard_of_halves(process):
    with pytest.raises(ValueError, match=r"devices \(=6\) must be a multiple"):
        process_shard(mesh(3, 4, 6, process))


def test_local_batches():
    batches = tf.data.Dataset.from_tensors({"a": tf.range(6), "b": tf.eye(6)})
    (batch,) = local_batches(batches, mesh(2, 4, 4, 1))
    np.testing.assert_array_equal(batch["a"], [3, 4, 5])
    np.testing.assert_array_equal(batch["b"], np.eye(6)[3:])
    with pytest.raises(ValueError, match=r"rows of a batch \(=5\)"):
        local_batches(tf.data.Dataset.from_tensors(tf.range(5)), mesh(2, 4, 4, 1))


@pytest.mark.parametrize(
    "variables, message",
    [
        ({"DTENSOR_NUM_CLIENTS": "3", "DTENSOR_CLIENT_ID": "0"}, "must be the number"),
        ({"DTENSOR_NUM_CLIENTS": "two"}, r"`DTENSOR_NUM_CLIENTS` \(=two\)"),
        ({}, "`DTENSOR_CLIENT_ID` must be set.*Received: None"),
        ({"DTENSOR_CLIENT_ID": "2"}, "from 0 to 1: .* Received: '2'"),
        ({"DTENSOR_CLIENT_ID": "first"}, "from 0 to 1: .* Received: 'first'"),
        ({"DTENSOR_CLIENT_ID": "0", "DTENSOR_JOBS": "a,b"}, "must have the form"),
    ],
)
def test_environment_that_does_not_fit(variables, message, monkeypatch):
    monkeypatch.setenv("DTENSOR_JOBS", "a:1,b:1")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message), join():
        pass


def test_one_process_needs_no_environment():
    with join():
        assert is_first_process()
