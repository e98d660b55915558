"""Starts processes on this machine that train one model together.

Example, two processes with four virtual CPU devices each, that run my_training.py:

  python -m training.launch --processes 2 --devices 4 -m my_training --epochs 3

Each line of output begins with the number of its process. When one fails, all end.
"""

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

GRACE_SECONDS = 10


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.launch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument(
        "--devices",
        type=int,
        help="virtual CPU devices of each process; default: its real devices",
    )
    parser.add_argument(
        "-m",
        dest="command",
        nargs=argparse.REMAINDER,
        required=True,
        metavar="MODULE ...",
        help="a module that calls keras_dalle.distribution.processes.join, and its "
        "arguments",
    )
    arguments = parser.parse_args()
    if arguments.processes < 1 or not arguments.command:
        parser.error("--processes must be at least 1, and -m be followed by a module")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return launch(arguments.processes, arguments.devices, arguments.command)


def launch(count, devices, command) -> int:
    """Runs `python -m command` as `count` processes.

    Returns:
        0, or the exit status of the first that failed.
    """
    port = free_ports(count + 1)
    jobs = [f"127.0.0.1:{port + 1 + i}" for i in range(count)]
    processes = []
    try:
        for i in range(count):
            processes.append(_start(command, environment(jobs, i, devices)))
        printers = [
            threading.Thread(target=_print_lines, args=(i, process.stdout))
            for i, process in enumerate(processes)
        ]
        for printer in printers:
            printer.start()
        status = _wait(processes)
    finally:
        for process in processes:
            process.kill()
    for printer in printers:
        printer.join()
    return status


def free_ports(count) -> int:
    """The first of `count` free ports of this machine, one after another."""
    while True:
        # Below those that Linux gives to outgoing connections.
        first = random.randrange(20_000, 32_000)
        try:
            for port in range(first, first + count):
                with socket.create_server(("127.0.0.1", port)):
                    pass
        except OSError:
            continue
        return first


def environment(jobs, index, devices=None):
    """The environment variables of one of several processes on this machine."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if len(jobs) > 1:
        environment.update(
            DTENSOR_JOBS=",".join(jobs),
            DTENSOR_NUM_CLIENTS=str(len(jobs)),
            DTENSOR_CLIENT_ID=str(index),
            DTENSOR_JOB_NAME="worker",
        )
    if devices:
        environment["KERAS_DALLE_CPU_DEVICES"] = str(devices)
    return environment


def _start(command, environment):
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def _print_lines(index, lines):
    for line in lines:
        print(f"[{index}] {line}", end="", flush=True)


def _wait(processes):
    """Waits for all, or for the first that fails and, a little, for the others."""
    while True:
        statuses = [process.poll() for process in processes]
        failed = [i for i, status in enumerate(statuses) if status]
        if failed:
            break
        if None not in statuses:
            return 0
        time.sleep(0.1)
    status = statuses[failed[0]]
    print(
        f"Process {failed[0]} ended with status {status}; so the others end too.",
        file=sys.stderr,
        flush=True,
    )
    deadline = time.monotonic() + GRACE_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
    return status if status > 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
