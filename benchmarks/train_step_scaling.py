"""Our training step against number of layers, batch, mesh and optimizer.

The mesh's devices are virtual CPUs of one process on the same cores, so its row shows
what dividing costs, not what devices gain. Shampoo takes statistics every step and
roots every tenth; its rows are at width 256, since the roots of width 1024 take two
cores minutes.

Example:

python benchmarks/train_step_scaling.py --cases layers batch
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.train_step import WORKER  # noqa: E402
from benchmarks.workers import Worker  # noqa: E402

NARROW = {"layers": 1, "batch": 2, "width": 256, "forward_backward": False}
CASES = {
    "layers": {f"{n} + {n} layers": {"layers": n, "batch": 1} for n in (1, 2, 4)},
    "batch": {f"batch {n}": {"layers": 1, "batch": n} for n in (1, 2, 4)},
    "mesh": {
        f"mesh {'×'.join(map(str, mesh))}" if mesh else "no mesh": {
            "layers": 1,
            "batch": 4,
            "mesh": mesh,
            "forward_backward": False,
        }
        for mesh in (None, (1, 1), (2, 4), (1, 8))
    },
    "optimizer": {
        name: {**NARROW, "optimizer": name, "steps": 10}
        for name in ("adamw", "shampoo")
    },
}


def measure(name: str, settings: dict, rounds: int) -> dict:
    """Seconds of one case's steps; of ten steps with Shampoo one computes roots."""
    worker = Worker(WORKER, "keras_dalle", sys.executable, settings)
    results = [worker.ask({}) for _ in range(rounds)]
    worker.close()
    seconds = [second for result in results for second in result["train"]]
    return {
        "case": name,
        **settings,
        "shortest_seconds": min(seconds),
        "median_seconds": statistics.median(seconds),
        "mean_seconds": statistics.mean(seconds),
        "longest_seconds": max(seconds),
        "peak_gigabytes": results[-1]["peak_bytes"] / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", metavar="FILE", help="where to write the rows")
    arguments = parser.parse_args()
    rows = []
    print("| | shortest step | median | mean | longest | peak |")
    print("|---|---|---|---|---|---|")
    for kind in arguments.cases:
        for name, settings in CASES[kind].items():
            row = measure(name, settings, arguments.rounds)
            rows.append(row)
            print(
                f"| {name} | {row['shortest_seconds']:.2f} s "
                f"| {row['median_seconds']:.2f} s | {row['mean_seconds']:.2f} s "
                f"| {row['longest_seconds']:.2f} s "
                f"| {row['peak_gigabytes']:.1f} GB |",
                flush=True,
            )
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
