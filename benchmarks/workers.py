"""Processes that hold one framework's model each and are measured in turns.

A benchmark starts a `Worker` for each framework and asks each in turn. The worker's
script sends a line of JSON when its model is ready, and one for each request:

    answer_requests(load)

TensorFlow and PyTorch are imported by the scripts, never here: each framework lives in
an interpreter of its own.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


class Worker:
    """A process with one framework's model.

    Args:
        script: the worker's Python file.
        framework: the first argument of the script, and this worker's name.
        python: the interpreter that has the framework.
        settings: the second argument of the script, as JSON.

    Attributes:
        load_seconds: from the start of the process, imports among them, until its
            model was ready.
    """

    def __init__(
        self, script: Path, framework: str, python: str, settings: dict[str, Any]
    ) -> None:
        self.framework = framework
        start = time.perf_counter()
        self._process = subprocess.Popen(
            [python, str(script), framework, json.dumps(settings)],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "KERAS_BACKEND": "tensorflow",
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "PYTHONWARNINGS": "ignore",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()
        self.load_seconds = time.perf_counter() - start

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Sends one request and waits for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # Libraries print on standard output too.
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit(
            f"The worker of {self.framework} ended with code {self._process.wait()}; "
            "its own message is above. A code of -9 is mostly a lack of memory: take "
            "fewer --frameworks at once, fewer layers or smaller batches."
        )


# === In the worker ===


def answer_requests(load: Callable[[], Callable[..., dict[str, Any]]]) -> None:
    """Loads a model, says so, and answers each request on standard input.

    Args:
        load: makes the function that is called with each request's fields.
    """
    answer = load()
    _say({"ready": True})
    for line in sys.stdin:
        reset_peak()
        result = answer(**json.loads(line))
        _say({**result, "peak_bytes": peak_bytes()})


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def use_threads(threads: int) -> None:
    """Keeps this process on so many cores.

    Called before a framework is imported: its thread pools have as many threads as it
    sees cores.
    """
    cores = sorted(os.sched_getaffinity(0))[:threads]
    os.sched_setaffinity(0, cores)


def seconds_of(function: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def reset_peak() -> None:
    """Makes `peak_bytes` start from what the process holds now (proc(5))."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def peak_bytes() -> int:
    """The largest resident memory of this process so far."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    line = next(line for line in status if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])
