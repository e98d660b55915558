"""How long a pass of the decoder takes with float32, bfloat16 and int8 weights.

DALL·E mini at its real size with random weights draws the first tokens of pictures,
with guidance. Guesses are accepted as they happen to be, so passes are what compares.

PYTHONPATH=. python benchmarks/narrow_generation.py
"""

# B pictures

import argparse
import time

import tensorflow as tf

from benchmarks.generate_models import random_task
from benchmarks.jacobi import CountingDecoder
from keras_dalle.generation.parameters import PARAMETERS
from keras_dalle.layers.narrow_weights import WEIGHTS
from keras_dalle.models.dalle_bart.with_weights import with_weights

PROMPT = "an armchair in the shape of an avocado"
TOKENS = 32


def milliseconds_a_pass(task, batch_size, rounds):
    """The least over the rounds, with the cache of the first 64 tokens."""
    decoder = CountingDecoder(task.backbone, task.vqgan.codebook_size)
    parameters = {p.name: tf.fill([batch_size], p.default) for p in PARAMETERS}

    @tf.function(autograph=False)
    def start():
        prompts_B = tf.fill([batch_size], PROMPT)
        return decoder.start(
            task.tokenized_prompts(prompts_B, tf.fill([batch_size], ""))
        )

    @tf.function(autograph=False)
    def advance(conditioning, state):
        return decoder.advance(conditioning, state, parameters, TOKENS).position_B

    times = []
    for _ in range(rounds + 1):  # The first traces.
        conditioning, state = start()
        decoder.passes.assign(0)
        begin = time.perf_counter()
        advance(conditioning, state).numpy()
        times.append((time.perf_counter() - begin) / int(decoder.passes))
    return 1000 * min(times[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    wide = random_task()
    batches = " | ".join(f"{batch}, ms a pass" for batch in arguments.batches)
    print(f"| weights | {batches} |")
    print("|---" * (len(arguments.batches) + 1) + "|")
    for weights in WEIGHTS:
        task = wide if weights == "float32" else with_weights(wide, weights)
        times = [
            f"{milliseconds_a_pass(task, batch, arguments.rounds):.1f}"
            for batch in arguments.batches
        ]
        print(f"| {weights} | {' | '.join(times)} |", flush=True)


if __name__ == "__main__":
    main()
