"""An hour of everything at once against the embedded server, with steady memory.

Callers over gRPC and REST, batched, with good requests, refused ones and ones that hit
their deadline, while a model's version is swapped again and again.

PYTHONPATH=. python benchmarks/serve_soak.py --minutes 60
PYTHONPATH=. python benchmarks/serve_soak.py --pause 0.5 --swap-seconds 30  # light load
PYTHONPATH=. python benchmarks/serve_soak.py --minutes 1 --only refused
"""

import argparse
import functools
import json
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

import grpc
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from tests.serving_contract.models import write_models
from tests.serving_contract.running_server import (
    RunningServer,
    embedded_server,
    predict_request,
)

FLAGS = ("--enable_batching", "--file_system_poll_wait_seconds=0.2")
SWAP_SECONDS = 3.0
SAMPLES = 120


def good(server: RunningServer) -> None:
    assert server.y_of([2.0, 4.0]) == [3.0, 4.0]


def over_rest(server: RunningServer) -> None:
    status, content = server.rest(
        "/v1/models/half_plus_three:predict", {"instances": [2.0]}
    )
    assert (status, content) == (200, {"predictions": [4.0]})


def large(server: RunningServer) -> None:
    texts = [b"x" * 100_000] * 4
    request = predict_request("echo", text=texts, number=[1, 2, 3, 4])
    response = server.prediction.Predict(request, timeout=30)
    assert list(response.outputs["text_bytes"].string_val) == texts


def refused(server: RunningServer) -> None:
    request = predict_request("echo", text=["bad"], number=[1])
    _expect(server, request, (grpc.StatusCode.INVALID_ARGUMENT,), 30)
    status, _ = server.rest("/v1/models/echo:predict", b'{"instances": [')
    assert status == 400


def late(server: RunningServer) -> None:
    request = predict_request("slow", x=[1.0])
    # The second where it was late before its batch began, as in the stock server.
    codes = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)
    _expect(server, request, codes, 0.05)
    time.sleep(0.2)


def _expect(
    server: RunningServer,
    request: PredictRequest,
    codes: Collection[grpc.StatusCode],
    timeout: float,
) -> None:
    try:
        server.prediction.Predict(request, timeout=timeout)
    except grpc.RpcError as error:
        assert error.code() in codes, error
    else:
        raise AssertionError(f"One of {codes} was expected")


def swap(server: RunningServer, seconds: float) -> None:
    """A new version of a model that others are calling; and the old one goes."""
    folder = server.folder / "half_plus_two"
    old = max(folder.iterdir(), key=lambda path: int(path.name))
    new = folder / str(int(old.name) + 1)
    shutil.copytree(old, folder / ".new")
    (folder / ".new").rename(new)
    time.sleep(seconds)
    shutil.rmtree(old)


STORIES: tuple[Callable[[RunningServer], None], ...] = (
    good,
    over_rest,
    large,
    refused,
    late,
)
NAMES = (*(story.__name__ for story in STORIES), "swap")


def soak(
    folder: Path,
    seconds: float,
    pause: float = 0.0,
    swap_seconds: float = SWAP_SECONDS,
    only: Collection[str] = NAMES,
) -> dict[str, object]:
    """Runs all stories for this long.

    Args:
        folder: Where the models go.
        seconds: How long.
        pause: Seconds between two rounds of a story.
        swap_seconds: Seconds between two version swaps.
        only: The stories to run.

    Returns:
        The number of rounds of each story, the faults, and the memory that is the
        server's own: samples, and the median of the last quarter over that of the
        second.
    """
    config = write_models(folder / "models")
    stories = {story.__name__: (story, pause) for story in STORIES}
    # It waits by itself, while both versions are there.
    stories["swap"] = (functools.partial(swap, seconds=swap_seconds), 0.0)
    stories = {name: story for name, story in stories.items() if name in only}
    rounds = dict.fromkeys(stories, 0)
    faults: list[str] = []
    stopping = threading.Event()

    def run(name: str) -> None:
        story, pause = stories[name]
        while not stopping.is_set():
            try:
                story(server)
            except Exception as error:
                second = round(time.monotonic() - start)
                faults.append(f"second {second}, {name}: {error!r}")
                print(faults[-1], file=sys.stderr, flush=True)
                time.sleep(0.1)
            rounds[name] += 1
            stopping.wait(pause)

    with embedded_server(
        f"--model_config_file={config}", *FLAGS, folder=config.parent
    ) as server:
        start = time.monotonic()
        threads = [threading.Thread(target=run, args=(name,)) for name in stories]
        for thread in threads:
            thread.start()
        samples = []
        for _ in range(SAMPLES):
            time.sleep(seconds / SAMPLES)
            samples.append(own_megabytes(server))
            print(f"{samples[-1]:.1f} MB, {rounds}", file=sys.stderr, flush=True)
        stopping.set()
        for thread in threads:
            thread.join()
    quarter = SAMPLES // 4
    second, last = samples[quarter : 2 * quarter], samples[-quarter:]
    return {
        "seconds": seconds,
        "rounds": rounds,
        "faults": faults[:10],
        "number_of_faults": len(faults),
        "own_megabytes": samples[:: SAMPLES // 12],
        "growth": statistics.median(last) / statistics.median(second),
    }


def own_megabytes(server: RunningServer) -> float:
    """Without pages of files, which Linux takes away and brings back as it likes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--swap-seconds", type=float, default=SWAP_SECONDS)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = soak(
            Path(folder),
            60 * options.minutes,
            options.pause,
            options.swap_seconds,
            options.only,
        )
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
