"""DTensor on eight virtual CPUs, in processes of their own: TensorFlow splits a CPU
only before it starts, and one failed DTensor operation may fail all that follow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CASES = Path(__file__).with_name("dtensor_cases.py")


@pytest.mark.parametrize(
    "name",
    [
        "steps and sgd",
        "steps and adamw",
        "steps and adafactor",
        "steps and shampoo",
        "options",
        "bfloat16",
        "padding",
        "fit",
        "layouts or activations",
        "checkpoint",
        "export",
        "mistakes or stale",
    ],
)
def test_on_eight_devices(name):
    result = subprocess.run(
        [sys.executable, "-m", "pytest", str(CASES), "-k", name],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
