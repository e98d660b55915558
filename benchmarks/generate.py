"""Generation by DALL·E mini at its real size, beside min-dalle and taming-transformers.

Random weights, float32. Three parts, each with batches of pictures:

tokens  256 image tokens a picture with guidance, from the prompt on: keras_dalle in
        Python, its SavedModel in a session of TensorFlow 1 (as TF Serving runs it), and
        min-dalle (PyTorch)
decode  tokens to pixels by VQGAN f16-16384: keras_dalle and min-dalle
encode  pixels to tokens by the same: keras_dalle and taming-transformers

Each framework lives in a process of its own, on the same cores, and they take turns:
what else runs on the machine slows all of them, so the ratios are what counts. In
between, the machine's memory bandwidth and its fastest matrix product are measured; no
implementation can take less than `limits.py` derives from them. The models that draw
tokens are loaded from files, warm in the page cache. Up to 9 GB are in use.

Example, after making the peers' environment (benchmarks/README.md):

python benchmarks/generate.py --peers-python ../peers/bin/python --quick
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import limits  # noqa: E402
from benchmarks.generate_models import MINI  # noqa: E402
from benchmarks.workers import Worker  # noqa: E402

FOLDER = Path(__file__).parent
# Of each part, who takes turns.
PARTS = {
    "tokens": ("keras_dalle", "saved_model", "min_dalle"),
    "decode": ("keras_dalle", "min_dalle"),
    "encode": ("keras_dalle", "taming"),
}
PEERS = ("min_dalle", "taming")
FRAMEWORKS = ("keras_dalle", "saved_model", *PEERS)
MEASURES = ("bytes_per_second", "flops_per_second")


def write_models(folder: Path, peers_python: str | None) -> None:
    """Our models and min-dalle's, unless they are there."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    writers = [("keras_dalle", sys.executable, "generate_models.py")]
    if peers_python:
        writers.append(("min_dalle", peers_python, "random_min_dalle.py"))
    for name, python, script in writers:
        if not (folder / name).exists():
            partial = folder / f"{name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            command = [python, str(FOLDER / script), str(partial)]
            subprocess.run(command, env=environment, check=True)
            partial.rename(folder / name)


def ask(worker: Worker, request: dict) -> dict:
    """The worker's answer, shown as progress apart from the table."""
    answer = worker.ask(request)
    text = f"{worker.framework}, {request['batch']}: {answer['seconds']:.2f} s"
    print(text, file=sys.stderr, flush=True)
    return answer


def measure_part(
    part: str,
    frameworks: list[tuple[str, str]],
    settings: dict,
    measure_machine,
) -> list[dict]:
    """Rows of one part: the frameworks take turns, batch by batch.

    Args:
        part: a key of `PARTS`.
        frameworks: names and their Python.
        settings: the run's.
        measure_machine: called in every round.
    """
    workers = [
        Worker(FOLDER / "generate_worker.py", f"{part}.{name}", python, settings)
        for name, python in frameworks
    ]
    rows = []
    for batch in settings["batches"]:
        request = {"batch": batch}
        first = not rows
        warm_up = [ask(worker, request) for worker in workers] if first else []
        answers: list[list[dict]] = [[] for _ in workers]
        for _ in range(settings["rounds"]):
            measure_machine()
            for worker, found in zip(workers, answers, strict=True):
                found.append(ask(worker, request))
        added = [
            {"part": part, "framework": name, **summary(batch, found)}
            for (name, _), found in zip(frameworks, answers, strict=True)
        ]
        for row, worker, answer in zip(added, workers, warm_up, strict=False):
            row["load_seconds"] = worker.load_seconds
            row["first_call_seconds"] = answer["seconds"]
        rows += added
    for worker in workers:
        worker.close()
    return rows


def summary(batch: int, answers: list[dict]) -> dict:
    """Median and peak of one framework's calls for so many pictures."""
    seconds = statistics.median(answer["seconds"] for answer in answers)
    return {
        "batch": batch,
        "seconds": seconds,
        "images_per_second": batch / seconds,
        "peak_gigabytes": max(answer["peak_bytes"] for answer in answers) / 1e9,
    }


def add_ratios(rows: list[dict], machine: dict[str, float]) -> None:
    """How many times as fast as the peer each row is, and its multiple of the limit."""
    peers = {
        (row["part"], row["batch"]): row["seconds"]
        for row in rows
        if row["framework"] in PEERS
    }
    for row in rows:
        least = limit_seconds(row["part"], row["batch"], machine)
        row["limit_seconds"] = least
        row["of_limit"] = row["seconds"] / least
        if peer := peers.get((row["part"], row["batch"])):
            row["times_as_fast"] = peer / row["seconds"]


def limit_seconds(part: str, batch: int, machine: dict[str, float]) -> float:
    """The least that a batch can take on this machine."""
    if part == "tokens":
        return limits.tokens_seconds(MINI, batch, machine)
    flops = {"decode": limits.decode_flops, "encode": limits.encode_flops}[part]()
    return batch * flops / machine["flops_per_second"]


def table(rows: list[dict], machine: dict[str, float]) -> str:
    lines = [
        f"Memory: {machine['bytes_per_second'] / 1e9:.1f} GB/s. Matrix products: "
        f"{machine['flops_per_second'] / 1e9:.0f} GFLOP/s.",
        "",
        "| | images | seconds | images/s | times as fast as the peer "
        "| of the limit | first call | load | peak |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    return "\n".join([*lines, *map(_line, rows)])


def _line(row: dict) -> str:
    def seconds(name: str) -> str:
        return f"{row[name]:.1f} s" if name in row else ""

    fast = f"{row['times_as_fast']:.2f}" if "times_as_fast" in row else ""
    return (
        f"| {row['part']}, {row['framework']} | {row['batch']} "
        f"| {row['seconds']:.2f} | {row['images_per_second']:.3f} | {fast} "
        f"| {row['of_limit']:.2f} × {row['limit_seconds']:.2f} s "
        f"| {seconds('first_call_seconds')} | {seconds('load_seconds')} "
        f"| {row['peak_gigabytes']:.1f} GB |"
    )


def square_number(text: str) -> int:
    number = int(text)
    if number < 1 or math.isqrt(number) ** 2 != number:
        raise argparse.ArgumentTypeError(f"{text} is not a square number, such as 4")
    return number


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peers-python", help="Python with min-dalle and taming-transformers-rom1504"
    )
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to time"
    )
    parser.add_argument(
        "--frameworks", nargs="+", choices=FRAMEWORKS, default=FRAMEWORKS
    )
    parser.add_argument(
        "--batches",
        nargs="+",
        type=square_number,
        default=[1, 4, 16],
        help="pictures of a call, square numbers: min-dalle draws square grids",
    )
    parser.add_argument("--rounds", type=int, default=3, help="calls of each batch")
    parser.add_argument("--threads", type=int, default=2, help="cores for all to share")
    parser.add_argument(
        "--peer-tokens",
        type=int,
        choices=range(32, MINI["image_length"] + 1, 32),
        metavar="N",
        default=MINI["image_length"],
        help="time so many of min-dalle's tokens (a multiple of 32), reckon the rest",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one round, up to 4 pictures, 64 of min-dalle's tokens",
    )
    parser.add_argument(
        "--models", metavar="FOLDER", help="keeps the random models for further runs"
    )
    parser.add_argument("--json", metavar="FILE", help="where to write the rows")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.batches, arguments.rounds = [1, 4], 1
        arguments.peer_tokens = 64
    return arguments


def measure(arguments: argparse.Namespace, folder: Path) -> dict:
    """The whole run as one dictionary."""
    pythons = dict.fromkeys(FRAMEWORKS, sys.executable)
    pythons.update(dict.fromkeys(PEERS, arguments.peers_python))
    if "tokens" in arguments.parts:
        write_models(folder, arguments.peers_python)
    names = ("batches", "rounds", "threads", "peer_tokens")
    settings = {name: getattr(arguments, name) for name in names}
    machine = Worker(FOLDER / "generate_worker.py", "machine", sys.executable, settings)
    measured: list[dict] = []
    rows = []
    for part in arguments.parts:
        frameworks = [
            (name, pythons[name])
            for name in PARTS[part]
            if name in arguments.frameworks and pythons[name]
        ]
        rows += measure_part(
            part,
            frameworks,
            {**settings, "folder": str(folder)},
            lambda: measured.append(machine.ask({})),
        )
    machine.close()
    best = {name: max(x[name] for x in measured) for name in MEASURES}
    add_ratios(rows, best)
    return {**settings, "machine": best, "rows": rows}


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.models or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        result = measure(arguments, folder.resolve())
    if arguments.json:
        text = json.dumps(result, indent=1) + "\n"
        Path(arguments.json).write_text(text, encoding="utf-8")
    print(table(result["rows"], result["machine"]))


if __name__ == "__main__":
    main()
