"""How long a pass and a picture take with float32, bfloat16 and int8 weights.

DALL·E mini at its real size with random weights draws the first tokens of pictures, and
one whole picture, with guidance. Guesses are accepted as they happen to be, so passes
are what compares. A picture's seconds are told as a multiple of the float32 limit:
reading the decoder's float32 weights once a token (`benchmarks/limits.py`).

PYTHONPATH=. python benchmarks/narrow_generation.py
PYTHONPATH=. python benchmarks/narrow_generation.py --batches
"""

# B pictures

import argparse
import os
import statistics
import time

import tensorflow as tf

from benchmarks.generate_models import MINI, random_task
from benchmarks.jacobi import CountingDecoder
from benchmarks.limits import measure_machine, tokens_seconds
from keras_dalle.generation.parameters import PARAMETERS
from keras_dalle.layers.narrow_weights import WEIGHTS
from keras_dalle.models.dalle_bart.with_weights import with_weights

PROMPT = "an armchair in the shape of an avocado"
FIRST_TOKENS = 32  # within the cache of the first 64


class Drawing:
    """Draws so many tokens of pictures of one prompt.

    Args:
        task: a `DalleBartTextToImage`.
        batch_size: how many pictures.
        tokens: how many tokens of each.
    """

    def __init__(self, task, batch_size, tokens):
        self._decoder = CountingDecoder(task.backbone, task.vqgan.codebook_size)
        parameters = {p.name: tf.fill([batch_size], p.default) for p in PARAMETERS}

        @tf.function(autograph=False)
        def start():
            prompts_B = tf.fill([batch_size], PROMPT)
            return self._decoder.start(
                task.tokenized_prompts(prompts_B, tf.fill([batch_size], ""))
            )

        @tf.function(autograph=False)
        def advance(conditioning, state):
            return self._decoder.advance(conditioning, state, parameters, tokens)

        self._start, self._advance = start, advance
        self.take()  # traces

    def take(self):
        """Seconds until the passes, those of the passes, and how many passes."""
        self._decoder.passes.assign(0)
        begin = time.perf_counter()
        conditioning, state = self._start()
        started = time.perf_counter()
        self._advance(conditioning, state).position_B.numpy()
        ended = time.perf_counter()
        return started - begin, ended - started, int(self._decoder.passes)


def milliseconds_a_pass(task, batch_size, rounds):
    """The least over the rounds."""
    drawing = Drawing(task, batch_size, FIRST_TOKENS)
    taken = [drawing.take() for _ in range(rounds)]
    return 1000 * min(seconds / passes for _, seconds, passes in taken)


def measure_passes(tasks, batches, rounds):
    names = " | ".join(f"{batch}, ms a pass" for batch in batches)
    print(f"| weights | {names} |")
    print("|---" * (len(batches) + 1) + "|")
    for weights, task in tasks.items():
        times = [f"{milliseconds_a_pass(task, batch, rounds):.1f}" for batch in batches]
        print(f"| {weights} | {' | '.join(times)} |", flush=True)


def measure_pictures(tasks, rounds):
    """One picture of each, in turns; medians."""
    limit = tokens_seconds(MINI, 1, measure_machine(os.cpu_count()))
    drawings = {
        weights: Drawing(task, 1, MINI["image_length"])
        for weights, task in tasks.items()
    }
    taken = [{k: x.take() for k, x in drawings.items()} for _ in range(rounds)]
    print(f"\nThe float32 limit: {limit:.2f} s\n")
    print("| weights | passes | ms a pass | seconds a picture | of the limit |")
    print("|---|---|---|---|---|")
    for weights in tasks:
        passes = taken[0][weights][2]
        a_pass = statistics.median(1000 * x[weights][1] / passes for x in taken)
        seconds = statistics.median(sum(x[weights][:2]) for x in taken)
        print(
            f"| {weights} | {passes} | {a_pass:.1f} | {seconds:.2f} "
            f"| {seconds / limit:.2f} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    wide = random_task()
    tasks = {
        weights: wide if weights == "float32" else with_weights(wide, weights)
        for weights in WEIGHTS
    }
    if arguments.batches:
        measure_passes(tasks, arguments.batches, arguments.rounds)
    measure_pictures(tasks, arguments.rounds)


if __name__ == "__main__":
    main()
