"""One training step of DALL·E mini at real width beside PyTorch's and Flax's BART.

Width 1024, 16 heads, 64 text tokens, 256 image tokens, vocabularies 50,264 and
16,385, float32, AdamW. The peers are BART of transformers at equal floating-point
operations: an FFN of 4096 for our gated one of 2730. Each framework lives in a process
of its own, on the same cores. Ours and one peer take turns, round by round, then ours
and the other: what else runs on the machine slows both of a pair, so its ratio is what
counts. A pair is in memory at once: 21 GB at 12 + 12 layers.

Example, after making the peers' environment (benchmarks/README.md):

python benchmarks/train_step.py --peers-python ../peers/bin/python --batch 2
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.workers import Worker  # noqa: E402

WORKER = Path(__file__).with_name("train_step_worker.py")
PEERS = ("torch", "flax")
KINDS = ("train", "forward_backward")


def interleaved(pythons: dict[str, str], settings: dict, rounds: int) -> list[dict]:
    """A row a framework: medians over all rounds, which the workers take in turns.

    Args:
        pythons: the interpreter of each framework; the ratios are to the first.
        settings: the workers'.
        rounds: number of rounds.
    """
    workers = [
        Worker(WORKER, name, python, settings) for name, python in pythons.items()
    ]
    found: list[list[dict]] = [[] for _ in workers]
    for _ in range(rounds):
        for worker, results in zip(workers, found, strict=True):
            results.append(worker.ask({}))
    for worker in workers:
        worker.close()
    rows = [row_of(*pair) for pair in zip(pythons, found, strict=True)]
    for row in rows:
        for kind in KINDS:
            row[f"{kind}_ratio"] = row[f"{kind}_seconds"] / rows[0][f"{kind}_seconds"]
    return rows


def row_of(framework: str, results: list[dict]) -> dict:
    """Median seconds of each kind of step in all rounds of a framework."""
    seconds = {
        f"{kind}_seconds": statistics.median(
            second for result in results for second in result[kind]
        )
        for kind in KINDS
    }
    peak = results[-1]["peak_bytes"] / 1e9
    return {"framework": framework, **seconds, "peak_gigabytes": peak}


def table(rows: list[dict]) -> str:
    lines = [
        "| | a step | to ours | forward and backward | to ours | peak |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['framework']} | {row['train_seconds']:.2f} s "
        f"| {row['train_ratio']:.2f} | {row['forward_backward_seconds']:.2f} s "
        f"| {row['forward_backward_ratio']:.2f} | {row['peak_gigabytes']:.1f} GB |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peers-python", help="Python with torch, jax, flax, optax, transformers<5"
    )
    parser.add_argument(
        "--frameworks", nargs="+", choices=PEERS, default=PEERS, help="the peers to run"
    )
    parser.add_argument("--layers", type=int, default=12, help="of each side")
    parser.add_argument("--batch", type=int, default=1, help="rows of a batch")
    parser.add_argument("--threads", type=int, default=2, help="cores for all to share")
    parser.add_argument("--steps", type=int, default=1, help="of each kind in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="2 + 2 layers, 1 row")
    parser.add_argument("--json", metavar="FILE", help="where to write the rows")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.layers, arguments.batch = 2, 1
    fields = ("layers", "batch", "threads", "steps")
    settings = {name: getattr(arguments, name) for name in fields}
    ours = {"keras_dalle": sys.executable}
    groups = [ours]
    if arguments.peers_python:
        groups = [
            {**ours, peer: arguments.peers_python} for peer in arguments.frameworks
        ]
    rows = []
    for pythons in groups:
        rows += interleaved(pythons, settings, arguments.rounds)
    if arguments.json:
        report = json.dumps({**settings, "rows": rows}, indent=1)
        Path(arguments.json).write_text(report + "\n", encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
