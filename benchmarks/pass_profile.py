"""Where a pass of the decoder spends its time, by kinds of operations.

DALL·E mini's decoder at its real size with random weights, by TensorFlow's profiler,
one operation at a time, each by all threads. Prints milliseconds of a pass.

PYTHONPATH=. python benchmarks/pass_profile.py
PYTHONPATH=. python benchmarks/pass_profile.py --weights int8 --pictures 1
"""

import argparse
import statistics
import tempfile
from collections import Counter
from pathlib import Path

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from benchmarks.decode_step import PASSES, step_inputs
from benchmarks.generate_models import random_task
from benchmarks.workers import seconds_of
from keras_dalle.generation.compiled_steps import decode_step_of
from keras_dalle.layers.narrow_weights import WEIGHTS
from keras_dalle.models.dalle_bart.with_weights import with_weights

ROUNDS = 8
SHOWN = 10


def operations(folder):
    """Pairs of an operation's type and its milliseconds, of all runs."""
    (path,) = Path(folder).glob("**/*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(path.read_bytes())
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            name = plane.event_metadata[event.metadata_id].name
            _, colon, kind = name.rpartition(":")
            # "scope/name:Type"; other events are TensorFlow's own.
            if colon and "::" not in name and kind.removeprefix("_")[:1].isupper():
                yield kind, event.duration_ps / 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", choices=WEIGHTS, default="float32")
    parser.add_argument("--pictures", type=int, choices=PASSES, default=16)
    arguments = parser.parse_args()
    tf.config.threading.set_inter_op_parallelism_threads(1)
    backbone = with_weights(random_task(), arguments.weights).backbone
    inputs = step_inputs(backbone, arguments.pictures, PASSES[arguments.pictures])
    step = tf.function(decode_step_of(backbone), autograph=False)

    def take():
        return seconds_of(lambda: step(*inputs)[0].numpy())

    for _ in range(3):
        take()
    median = 1000 * statistics.median(take() for _ in range(ROUNDS))
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            for _ in range(ROUNDS):
                take()
        spent, counts = Counter(), Counter()
        for kind, milliseconds in operations(folder):
            spent[kind] += milliseconds / ROUNDS
            counts[kind] += 1
    print(f"{arguments.weights}, {arguments.pictures} pictures: {median:.1f} ms a pass")
    print("| operation | milliseconds | how many |\n|---|---|---|")
    for kind, milliseconds in spent.most_common(SHOWN):
        print(f"| {kind} | {milliseconds:.1f} | {counts[kind] // ROUNDS} |")
    rest = sum(milliseconds for _, milliseconds in spent.most_common()[SHOWN:])
    print(f"| all others | {rest:.1f} | |")


if __name__ == "__main__":
    main()
