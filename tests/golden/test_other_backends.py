"""The backbones compute the originals' numbers on another Keras backend too.

On PyTorch's, which the tests' environment has, in a process that cannot import
TensorFlow. `benchmarks/gpu_step.py` does the same for all cases on JAX's.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Between them: every class of layer that variants choose from, and a VQGAN.
CASES = (
    "mini",
    "swinv2_cosine_relpos",
    "sinkhorn3",
    "head_scale",
    "subln_ffn_noscan",
    "rmsnorm",
    "main",
)


def run_on_torch(*arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        # Threads cost more than they save on models as small as these.
        env={**os.environ, "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.fixture(scope="module")
def rows():
    """The script's lines: each tensor's case, name, error and tolerance."""
    output = run_on_torch("-m", "tests.golden.on_another_backend", *CASES)
    return [json.loads(line) for line in output.splitlines()]


def test_every_case_is_computed(rows):
    assert {row["case"] for row in rows} == set(CASES)


def test_states_logits_and_pixels(rows):
    compared = [row for row in rows if not row["tensor"].startswith("grad/")]
    assert {row["tensor"] for row in compared} == {
        "encoder_sequence_output",
        "logits",
        "loss",
        "pixels",
    }
    assert [row for row in compared if not row["error"] <= row["tolerance"]] == []


def test_gradients(rows):
    gradients = [row for row in rows if row["tensor"].startswith("grad/")]
    assert gradients
    assert [row for row in gradients if not row["error"] <= row["tolerance"]] == []


def test_what_needs_tensorflow_says_so():
    code = """
from keras_dalle.models import DalleBartBackbone
print(DalleBartBackbone.from_preset("emoji_tiny").image_length)
try:
    from keras_dalle.models import DalleBartTextToImage
except ImportError as error:
    print(error)
"""
    assert run_on_torch("-c", code).splitlines()[-2:] == [
        "64",
        "DalleBartTextToImage needs Keras on TensorFlow. Received: the backend torch. "
        "Set KERAS_BACKEND=tensorflow, or use the backbones.",
    ]
