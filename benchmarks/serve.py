"""The embedded server: what it adds to a call, how it fills, starts and grows.

Each server is a process of its own, started by its command line, and called over gRPC
from threads of this one. Both share the machine's cores.

PYTHONPATH=. python benchmarks/serve.py  # all of it, about 5 minutes
PYTHONPATH=. python benchmarks/serve.py --only overhead load
"""

import argparse
import contextlib
import itertools
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from keras_dalle.models import DalleBartTextToImage
from keras_dalle.prediction_service.session import SavedModelSession
from keras_dalle.saved_model.exporter import export_saved_model
from tests.serving_contract.running_server import RunningServer, embedded_server

PRESET = "emoji_tiny"
MODEL = "dalle"
PROMPTS = (
    "woman firefighter: dark skin tone",
    "red heart",
    "cat face",
    "flag: France",
    "sun",
    "pizza",
    "thinking face",
    "rainbow",
)
PICTURES = 512
CALLERS = (1, 2, 4, 8, 16, 32, 64)
OVERHEAD_CALLS = 500
OVERHEAD_ROUNDS = 5
TOKENIZE_SECONDS = 3.0
PICTURES_SECONDS = 4.0
BATCHING_CALLERS = 16
BATCHING_ROUNDS = 4
BATCHING_SECONDS = 4.0
# As docs/serving.md recommends for a small model on two cores.
BATCHING_PARAMETERS = """
max_batch_size { value: 8 }
batch_timeout_micros { value: 50000 }
max_enqueued_batches { value: 16 }
num_batch_threads { value: 2 }
"""
OPERATION_THREADS = {
    "a thread a core": (),
    "one thread": ("--tensorflow_intra_op_parallelism=1",),
}
NO_WARMUP_FLAG = "--enable_model_warmup=false"
THREADS_FLAG = f"--grpc_max_threads={2 * max(CALLERS)}"


def export_model(folder: Path) -> None:
    task = DalleBartTextToImage.from_preset(PRESET)
    export_saved_model(task, folder / MODEL)


# === Calls ===


def request_of(signature: str) -> predict_pb2.PredictRequest:
    """A call of one row, of a signature that needs no input but a prompt."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = MODEL
    request.model_spec.signature_name = signature
    request.inputs["prompt"].CopyFrom(tf.make_tensor_proto(PROMPTS[:1]))
    return request


def picture_request(seed: int) -> predict_pb2.PredictRequest:
    """A call of one picture. Neither prompt nor seed is its neighbours'."""
    request = request_of("serving_default")
    prompt = PROMPTS[seed % len(PROMPTS)]
    request.inputs["prompt"].CopyFrom(tf.make_tensor_proto([prompt]))
    request.inputs["seed"].CopyFrom(tf.make_tensor_proto([seed], tf.int64))
    return request


def seconds_of(call: Callable[[], object], times: int) -> list[float]:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


class Load:
    """Calls from several threads, each as fast as it is answered."""

    def __init__(self, call: Callable[[], object], callers: int):
        self._call = call
        self._callers = callers
        self._seconds: list[float] = []
        self._elapsed = 0.0
        self._failures = 0

    def run(self, duration: float) -> None:
        start = time.perf_counter()

        def run() -> None:
            while time.perf_counter() < start + duration:
                try:
                    self._seconds.extend(seconds_of(self._call, 1))
                except grpc.RpcError:
                    self._failures += 1

        threads = [threading.Thread(target=run) for _ in range(self._callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._elapsed += time.perf_counter() - start

    def summary(self) -> dict[str, float]:
        """Of all runs so far."""
        p50, p95, p99 = np.percentile(self._seconds, [50, 95, 99]) * 1e3
        return {
            "callers": self._callers,
            "calls_per_second": len(self._seconds) / self._elapsed,
            "p50_ms": p50,
            "p95_ms": p95,
            "p99_ms": p99,
            "failures": self._failures,
        }


def percentiles(call: Callable[[], object], duration: float) -> list[dict[str, float]]:
    """At 1 to 64 callers."""
    summaries = []
    for callers in CALLERS:
        load = Load(call, callers)
        load.run(duration)
        summaries.append(load.summary())
    return summaries


def resident_bytes(server: RunningServer, kind: str = "VmRSS") -> int:
    """Of the server's process. Linux alone tells it this way."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(kind))
    return 1024 * int(line.split()[1])


# === What is measured ===


def overhead(folder: Path) -> dict[str, float]:
    """One caller of `tokenize` over gRPC against the same session in process."""
    session = SavedModelSession(folder / MODEL / "1")
    signature = session.signatures["tokenize"]
    feeds = {signature.inputs["prompt"].name: np.array([PROMPTS[0].encode()], object)}
    fetches = [info.name for info in signature.outputs.values()]
    request = request_of("tokenize")
    in_process, served = [], []
    with server_of(folder, NO_WARMUP_FLAG) as server:
        for _ in range(OVERHEAD_ROUNDS):
            calls = OVERHEAD_CALLS // OVERHEAD_ROUNDS
            in_process += seconds_of(lambda: session.run(feeds, fetches), calls)
            served += seconds_of(lambda: server.prediction.Predict(request), calls)
    session.close()
    medians = [1e3 * statistics.median(values) for values in (in_process, served)]
    return {
        "in_process_ms": medians[0],
        "served_ms": medians[1],
        "overhead_ms": medians[1] - medians[0],
    }


def latency_under_load(folder: Path) -> dict[str, list[dict[str, float]]]:
    """Percentiles at 1 to 64 callers, of `tokenize` and of pictures in batches."""
    request = request_of("tokenize")
    with server_of(folder, NO_WARMUP_FLAG, THREADS_FLAG) as server:
        tokenize = percentiles(
            lambda: server.prediction.Predict(request), TOKENIZE_SECONDS
        )
    flags = (*OPERATION_THREADS["one thread"], *batching_flags(folder))
    with server_of(folder, NO_WARMUP_FLAG, THREADS_FLAG, *flags) as server:
        pictures = percentiles(picture_call(server), PICTURES_SECONDS)
    return {"tokenize": tokenize, "pictures": pictures}


def batching(folder: Path) -> dict[str, dict[str, float]]:
    """Pictures at 16 callers, without batching and with, by threads an operation.

    All servers are there all the time, and take turns: what else the machine does
    should strike each.
    """
    with contextlib.ExitStack() as stack:
        servers, loads = {}, {}
        for threads, flags in OPERATION_THREADS.items():
            for batches, more in {
                "without": (),
                "with": batching_flags(folder),
            }.items():
                server = stack.enter_context(
                    server_of(folder, NO_WARMUP_FLAG, THREADS_FLAG, *flags, *more)
                )
                call = picture_call(server)
                Load(call, BATCHING_CALLERS).run(1.0)
                name = f"{batches} batching, {threads} an operation"
                servers[name] = server
                loads[name] = Load(call, BATCHING_CALLERS)
        for _ in range(BATCHING_ROUNDS):
            for load in loads.values():
                load.run(BATCHING_SECONDS)
        return {
            name: {
                **load.summary(),
                "peak_bytes": resident_bytes(servers[name], "VmHWM"),
            }
            for name, load in loads.items()
        }


def batching_flags(folder: Path) -> tuple[str, str]:
    parameters = folder / "batching.config"
    parameters.write_text(BATCHING_PARAMETERS)
    return "--enable_batching", f"--batching_parameters_file={parameters}"


def picture_call(server: RunningServer) -> Callable[[], object]:
    """Draws another picture each time. The first one, which optimizes, is drawn."""
    requests = itertools.cycle([picture_request(seed) for seed in range(PICTURES)])
    server.prediction.Predict(next(requests))
    return lambda: server.prediction.Predict(next(requests))


def cold_start(folder: Path) -> dict[str, dict[str, float]]:
    """From the command to "Serving", to the first answer, and the memory after it."""
    results = {}
    for name, flags, signature in (
        ("tokenize, no warm-up", (NO_WARMUP_FLAG,), "tokenize"),
        ("picture, no warm-up", (NO_WARMUP_FLAG,), "serving_default"),
        ("picture", (), "serving_default"),
    ):
        request = request_of(signature)
        start = time.perf_counter()
        with server_of(folder, *flags) as server:
            ready = time.perf_counter() - start
            loaded = resident_bytes(server)
            server.prediction.Predict(request)
            results[name] = {
                "ready_s": ready,
                "first_answer_s": time.perf_counter() - start,
                "loaded_bytes": loaded,
                "answered_bytes": resident_bytes(server),
            }
    return results


def server_of(folder: Path, *flags: str):
    base_path = f"--model_base_path={folder / MODEL}"
    return embedded_server(base_path, f"--model_name={MODEL}", *flags)


MEASUREMENTS = {
    "overhead": overhead,
    "load": latency_under_load,
    "batching": batching,
    "cold_start": cold_start,
}


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=MEASUREMENTS)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        export_model(Path(name))
        for measurement in options.only:
            result = MEASUREMENTS[measurement](Path(name))
            print(json.dumps({measurement: result}, indent=2), flush=True)


if __name__ == "__main__":
    main()
