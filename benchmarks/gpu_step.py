"""The layers on one GPU, by Keras's JAX backend: exactness, and a training step.

Part `parity` holds every golden case to the originals' numbers, with products in full
float32. The others time a training step of DALL·E mini (12 + 12 layers, width 1024,
AdamW; see train_step.py) in bfloat16 and in float32, where products may be TF32: ours
beside BART of transformers, by Flax and by PyTorch, at equal floating-point operations.
Each part is a process with a time limit; one that fails leaves the others alone. A line
is printed as soon as a part is done.

It wants a Python with JAX, Keras, KerasHub and, for the peers, Flax and PyTorch; no
TensorFlow. FlaxBart was taken out of transformers 5: `--flax-packages` is a folder with
an older one.

python benchmarks/gpu_step.py --flax-packages ../transformers4 --json gpu_step.json
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARDS = 4  # processes for the golden cases
# Framework, dtype, further settings; the most telling first, for when time is short.
STEPS = (
    ("keras_jax", "bfloat16", {}),
    ("torch", "bfloat16", {}),
    ("flax", "bfloat16", {}),
    ("keras_jax", "float32", {}),
    ("torch", "float32", {}),
    ("torch", "bfloat16", {"compiled": True}),
    ("flax", "float32", {}),
    ("keras_jax", "bfloat16", {"through_fit": True}),
)


@dataclass
class Settings:
    """What is run, and for how long.

    Attributes:
        step: of the workers, see gpu_step_worker.py.
        deadline: the end of all parts, by `time.monotonic()`.
        part_seconds: the most that one part may take.
        packages: further folders of a framework's packages.
    """

    step: dict
    deadline: float
    part_seconds: float
    packages: dict[str, str] = field(default_factory=dict)


class FailedPart(RuntimeError):
    """A process that ended badly or too late.

    Attributes:
        output: what it had printed by then.
    """

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output


def run_python(arguments: list[str], settings: Settings, environment: dict) -> str:
    """Standard output of a Python process, which has what time is left.

    Raises:
        FailedPart: it failed, or time was up.
    """
    limit = min(settings.part_seconds, settings.deadline - time.monotonic())
    if limit < 1:
        raise FailedPart("no time was left", "")
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"").decode()
        raise FailedPart(f"stopped after {limit:.0f} s", output) from error
    if done.returncode:
        last_lines = done.stderr.strip().splitlines()[-6:]
        message = f"code {done.returncode}: " + " | ".join(last_lines)
        raise FailedPart(message, done.stdout)
    return done.stdout


def python_path(*folders: str) -> str:
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(filter(None, [*folders, str(ROOT), *inherited]))


def device(settings: Settings) -> dict:
    """What JAX computes on, here and in the other parts."""
    code = "import jax; print(jax.__version__, jax.devices()[0].device_kind)"
    return {"jax": run_python(["-c", code], settings, {}).strip()}


# === Golden cases ===


def parity(settings: Settings) -> dict:
    """The worst of all cases, and those that are further off than they may be."""
    folders = [*ROOT.glob("tests/data/golden/dallebart/*/io.npz")]
    folders += ROOT.glob("tests/data/golden/vqgan_*/*/io.npz")
    cases = sorted(path.parent.name for path in folders)
    shards = [cases[i::SHARDS] for i in range(SHARDS)]
    rows: list[dict] = []
    faults: list[str] = []

    def run(names: list[str]) -> None:
        try:
            output = golden_output(names, settings)
        except FailedPart as fault:
            faults.append(str(fault))
            output = fault.output
        lines = [line for line in output.splitlines() if line.endswith("}")]
        rows.extend(json.loads(line) for line in lines)

    with ThreadPoolExecutor(SHARDS) as pool:
        list(pool.map(run, shards))
    kinds = ("encoder_sequence_output", "logits", "pixels", "loss", "grad/")
    errors = {
        kind: [row["error"] for row in rows if row["tensor"].startswith(kind)]
        for kind in kinds
    }
    return {
        "cases": len({row["case"] for row in rows}),
        "of": len(cases),
        "faults": faults,
        "tensors": len(rows),
        "worst": {kind: max(found) for kind, found in errors.items() if found},
        "above_2e-5": [row for row in rows if not row["error"] <= 2e-5],
        "above_tolerance": [
            row for row in rows if not row["error"] <= row["tolerance"]
        ],
        "rows": rows,
    }


def golden_output(names: list[str], settings: Settings) -> str:
    return run_python(
        ["-m", "tests.golden.on_another_backend", *names],
        settings,
        {
            "KERAS_BACKEND": "jax",
            "PYTHONPATH": python_path(),
            "JAX_DEFAULT_MATMUL_PRECISION": "highest",
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        },
    )


# === Steps ===


def training_step(framework: str, dtype: str, more: dict, settings: Settings) -> dict:
    """What gpu_step_worker.py found."""
    folders = [settings.packages[framework]] if framework in settings.packages else []
    step = {**settings.step, "dtype": dtype, **more}
    output = run_python(
        ["benchmarks/gpu_step_worker.py", framework, json.dumps(step)],
        settings,
        {"KERAS_BACKEND": "jax", "PYTHONPATH": python_path(*folders)},
    )
    return json.loads(output.strip().splitlines()[-1])


def name_of(framework: str, dtype: str, more: dict) -> str:
    return " ".join([framework, dtype, *(name for name, on in more.items() if on)])


def table(results: dict[str, dict]) -> str:
    lines = [
        "| | a step | tokens/s | TFLOP/s | peak | compilation |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {1e3 * row['seconds']:.1f} ms | {row['tokens_per_second']:,.0f} "
        f"| {row['teraflops']:.0f} | {(row['peak_bytes'] or 0) / 1e9:.1f} GB "
        f"| {row['first_seconds']:.0f} s |"
        for name, row in results.items()
        if "seconds" in row
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=16, help="rows of a batch")
    parser.add_argument("--layers", type=int, default=12, help="of each side")
    parser.add_argument("--flax-packages", metavar="DIR", help="with transformers<5")
    parser.add_argument("--torch-packages", metavar="DIR", help="with transformers")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="parts with a word")
    parser.add_argument("--seconds", type=float, default=300, help="for all parts")
    parser.add_argument("--part-seconds", type=float, default=110, help="for one part")
    parser.add_argument("--tiny", action="store_true", help="for a CPU: 1 + 1 layers")
    parser.add_argument("--json", metavar="FILE", help="where to write the results")
    arguments = parser.parse_args()
    step = {"batch": arguments.batch, "layers": arguments.layers}
    if arguments.tiny:
        step = {"batch": 1, "layers": 1, "width": 64, "steps": 1, "rounds": 1}
    packages = {"flax": arguments.flax_packages, "torch": arguments.torch_packages}
    settings = Settings(
        step,
        deadline=time.monotonic() + arguments.seconds,
        part_seconds=arguments.part_seconds,
        packages={name: folder for name, folder in packages.items() if folder},
    )
    parts = {"device": lambda: device(settings), "parity": lambda: parity(settings)}
    for framework, dtype, more in STEPS:
        parts[name_of(framework, dtype, more)] = lambda f=framework, d=dtype, m=more: (
            training_step(f, d, m, settings)
        )
    results: dict[str, dict] = {}
    for name, part in parts.items():
        if arguments.only and not any(word in name for word in arguments.only):
            continue
        start = time.monotonic()
        try:
            results[name] = part()
        except Exception as error:  # the other parts go on
            results[name] = {"failed": f"{type(error).__name__}: {error}"}
        shown = {key: x for key, x in results[name].items() if key != "rows"}
        print(f"{name} ({time.monotonic() - start:.0f} s): {shown}", flush=True)
        if arguments.json:
            report = json.dumps({**step, "parts": results}, indent=1)
            Path(arguments.json).write_text(report + "\n", encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
