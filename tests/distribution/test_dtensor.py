"""DTensor on eight virtual CPUs, in processes of their own: TensorFlow splits a CPU
only before it starts, and one failed DTensor operation may fail all that follow."""

import math
import os
import re
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
        "recipe",
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


TAKE_A_STEP = """
from tests.distribution.dtensor_cases import compiled, distribute, losses_of_steps

task = compiled()
distribute(task, {"batch": 2, "model": 4})
losses_of_steps(task, steps=1)
"""


def test_no_device_holds_all_logits_or_attention_weights(tmp_path):
    """In the program that DTensor makes of a train step for each of its devices."""
    subprocess.run(
        [sys.executable, "-c", TAKE_A_STEP],
        cwd=ROOT,
        env={
            **os.environ,
            "TF_CPP_VMODULE": "dtensor_mlir_passes=1",
            "TF_DUMP_GRAPH_PREFIX": str(tmp_path),
        },
        capture_output=True,
        check=True,
    )
    (path,) = tmp_path.glob("*.after_DTensorAllScatterLowering.*_traced_*.mlir")
    found = re.findall(r"tensor<([0-9x]+)xf32>", path.read_text())
    shapes = {tuple(map(int, shape.split("x"))) for shape in found}
    # Of 8 rows, 8 heads, 16 tokens, 64 codes: half of the rows, a quarter of the rest.
    assert {(4, 2, 16, 16), (4, 16, 16)} <= shapes
    assert max(map(math.prod, shapes)) < min(4 * 8 * 16 * 16, 4 * 16 * 64)
