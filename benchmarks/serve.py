"""The embedded server: what it adds to a call, how it fills, starts and grows.

Each server is a process of its own, started by its command line, and called over gRPC
from threads of this one. Both share the machine's cores.

PYTHONPATH=. python benchmarks/serve.py  # all of it, about 4 minutes
PYTHONPATH=. python benchmarks/serve.py --only overhead load
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from keras_dalle.models import DalleBartTextToImage
from keras_dalle.prediction_service.session import SavedModelSession
from keras_dalle.saved_model.exporter import export_saved_model
from tests.serving_contract.running_server import RunningServer, embedded_server

PRESET = "emoji_tiny"
MODEL = "dalle"
PROMPT = "woman firefighter: dark skin tone"
CALLERS = (1, 2, 4, 8, 16, 32, 64)
OVERHEAD_CALLS = 500
OVERHEAD_ROUNDS = 5
LOAD_SECONDS = 3.0
BATCHING_CALLERS = 16
BATCHING_SECONDS = 20.0
BATCHING_PARAMETERS = """
max_batch_size { value: 16 }
batch_timeout_micros { value: 50000 }
max_enqueued_batches { value: 4 }
num_batch_threads { value: 1 }
"""
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
    request.inputs["prompt"].CopyFrom(tf.make_tensor_proto([PROMPT]))
    return request


def seconds_of(call: Callable[[], object], times: int) -> list[float]:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


def load(call: Callable[[], object], callers: int, duration: float) -> dict[str, float]:
    """Calls from several threads, each as fast as it is answered."""
    seconds: list[float] = []
    failures: list[Exception] = []
    start = time.perf_counter()

    def run() -> None:
        while time.perf_counter() < start + duration:
            try:
                seconds.extend(seconds_of(call, 1))
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - start
    p50, p95, p99 = np.percentile(seconds, [50, 95, 99]) * 1e3
    return {
        "callers": callers,
        "calls_per_second": len(seconds) / elapsed,
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "failures": len(failures),
    }


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
    feeds = {signature.inputs["prompt"].name: np.array([PROMPT.encode()], object)}
    fetches = [info.name for info in signature.outputs.values()]
    request = request_of("tokenize")
    in_process, served = [], []
    with server_of(folder) as server:
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


def latency_under_load(folder: Path) -> list[dict[str, float]]:
    """Percentiles of `tokenize` at 1 to 64 callers."""
    request = request_of("tokenize")
    with server_of(folder, THREADS_FLAG) as server:
        return [
            load(lambda: server.prediction.Predict(request), callers, LOAD_SECONDS)
            for callers in CALLERS
        ]


def batching(folder: Path) -> dict[str, dict[str, float]]:
    """Pictures of the shipped preset at 16 callers, with batching and without."""
    parameters = folder / "batching.config"
    parameters.write_text(BATCHING_PARAMETERS)
    flags = ("--enable_batching", f"--batching_parameters_file={parameters}")
    request = request_of("serving_default")
    results = {}
    for name, more in {"without": (), "with": flags}.items():
        with server_of(folder, THREADS_FLAG, *more) as server:
            server.prediction.Predict(request)
            results[name] = load(
                lambda: server.prediction.Predict(request),
                BATCHING_CALLERS,
                BATCHING_SECONDS,
            )
            results[name]["peak_bytes"] = resident_bytes(server, "VmHWM")
    results["ratio"] = {
        "calls_per_second": results["with"]["calls_per_second"]
        / results["without"]["calls_per_second"]
    }
    return results


def cold_start(folder: Path) -> dict[str, dict[str, float]]:
    """From the command to "Serving", to the first answer, and the memory after it."""
    results = {}
    for signature in ("tokenize", "serving_default"):
        request = request_of(signature)
        start = time.perf_counter()
        with server_of(folder) as server:
            ready = time.perf_counter() - start
            loaded = resident_bytes(server)
            server.prediction.Predict(request)
            results[signature] = {
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
