"""Whether guesses pay in a batch: passes and CPU time by pictures and positions a pass.

One thread an operation, as a server with a batch a core has it. CPU time is that of the
whole process, the least of several batches: it depends less on what else runs. All
windows draw the same tokens; the command fails where one does not.

python -m benchmarks.batch_windows
"""

# B pictures, W positions of a pass

import argparse
import time

import numpy as np
import tensorflow as tf

from benchmarks.jacobi import PROMPTS, CountingDecoder
from keras_dalle.commands.preset_names import load_task
from keras_dalle.generation.parameters import PARAMETERS
from keras_dalle.layers.row_stable import MAX_ROWS

BATCH_SIZES = (1, 2, 4, 8, 16)
WINDOWS = (None, 1, 2, 3, 4, 6, 8)


def drawer(task, window):
    """A decoder, and a function from prompts and parameters to image tokens."""
    decoder = CountingDecoder(task.backbone, task.vqgan.codebook_size, window=window)

    @tf.function(autograph=False)
    def draw(prompts_B, parameters):
        prompts = task.tokenized_prompts(prompts_B, tf.fill(tf.shape(prompts_B), ""))
        conditioning, state = decoder.start(prompts)
        return decoder.tokens(
            decoder.advance(conditioning, state, parameters, decoder.length)
        )

    return decoder, draw


def batch_of(task, batch_size, first_seed):
    """Prompts in turns, seeds that follow each other, the preset's defaults."""
    values = task.generation_defaults
    parameters = {
        p.name: tf.fill([batch_size], tf.cast(values[p.name], p.dtype))
        for p in PARAMETERS
    }
    parameters["seed"] = tf.range(first_seed, first_seed + batch_size, dtype=tf.int64)
    prompts = [PROMPTS[i % len(PROMPTS)] for i in range(batch_size)]
    return tf.constant(prompts), parameters


def measure(task, window, batch_size, batches):
    """The tokens of some batches, passes a batch, and CPU seconds of the fastest."""
    decoder, draw = drawer(task, window)
    draw(*batch_of(task, batch_size, 0))
    decoder.passes.assign(0)
    tokens, seconds = [], []
    for i in range(batches):
        inputs = batch_of(task, batch_size, i * batch_size)
        start = time.process_time()
        tokens.append(draw(*inputs).numpy())
        seconds.append(time.process_time() - start)
    return np.concatenate(tokens), int(decoder.passes) / batches, min(seconds)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="emoji_tiny")
    parser.add_argument("--batches", type=int, default=6)
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    task = load_task(arguments.preset)
    print("| pictures | W | passes | CPU ms a picture |\n|---|---|---|---|")
    for batch_size in BATCH_SIZES:
        expected = None
        for window in WINDOWS:
            if 2 * batch_size * (window or 1) > MAX_ROWS:
                continue
            tokens, passes, seconds = measure(
                task, window, batch_size, arguments.batches
            )
            expected = tokens if expected is None else expected
            if (tokens != expected).any():
                raise SystemExit(f"A window of {window} drew other tokens.")
            print(
                f"| {batch_size} | {window or 'chosen'} | {passes:.1f} "
                f"| {1e3 * seconds / batch_size:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
