"""What it costs to show pictures while they are drawn.

Draws the same pictures with `generate`, which decodes them once at the end, and with
`generate_stream`, whose token loop stops several times to decode what there is. Both
take turns. Printed are the medians of the token loop alone, of one decoding and of the
whole, with as many pictures shown as `--partials` says.

    python -m benchmarks.streaming
    python -m benchmarks.streaming --preset mini

`mini` is DALL·E mini's size with random weights, and VQGAN f16-16384: 6 GB of memory.
"""

# B pictures, T image tokens

import argparse
import statistics

import tensorflow as tf

from benchmarks.generate_models import random_task
from benchmarks.workers import seconds_of
from keras_dalle.commands.preset_names import load_task
from keras_dalle.generation import streaming
from keras_dalle.generation.decoding import generate_image_tokens
from keras_dalle.generation.one_by_one import decode_function
from keras_dalle.generation.parameters import PARAMETERS

PROMPT = "red heart"


def load(preset):
    if preset != "mini":
        return load_task(preset)
    from keras_dalle.models import VQGANBackbone

    task = random_task()
    task.vqgan = VQGANBackbone()
    return task


def unstreamed_loop(task):
    """A function from rows to all tokens, without decoding, as `generate` draws."""

    @tf.function(reduce_retracing=True, autograph=False)
    def draw(prompt, negative_prompt, parameters):
        return generate_image_tokens(
            task.backbone,
            task.tokenized_prompts(prompt, negative_prompt),
            parameters,
            codebook_size=task.vqgan.codebook_size,
        )

    return draw


def streamed_loop(task, batch, partials):
    """The same in the pieces of a stream."""
    start, advance = streaming.stream_functions(task)
    length = task.backbone.image_length
    every = length // partials
    blank = tf.zeros([batch, length], tf.int32)
    known = streaming.Known(blank, tf.zeros(blank.shape, tf.bool))

    def draw(prompt, negative_prompt, parameters):
        conditioning, state = start(prompt, negative_prompt, known)
        for until in [*range(every, length, every), length]:
            state = advance(conditioning, state, parameters, tf.constant(until))
        return state.sequence_BL[:, 1:]

    return draw


def ways(task, batch, partials):
    """What is timed, by name: functions without arguments."""
    values = {**task.generation_defaults, "seed": 0}
    parameters = {
        p.name: tf.fill([batch], tf.cast(values[p.name], p.dtype)) for p in PARAMETERS
    }
    rows = tf.fill([batch], PROMPT), tf.fill([batch], ""), parameters
    whole, pieces = unstreamed_loop(task), streamed_loop(task, batch, partials)
    tokens_BT = whole(*rows)
    tf.debugging.assert_equal(tokens_BT, pieces(*rows))
    decode = decode_function(task.vqgan)
    prompts = [PROMPT] * batch
    every = task.backbone.image_length // partials
    return {
        "tokens, unstreamed": lambda: whole(*rows).numpy(),
        "tokens, streamed": lambda: pieces(*rows).numpy(),
        "one decoding": lambda: decode(tokens_BT).numpy(),
        "`generate`": lambda: task.generate(prompts, seed=0),
        "`generate_stream`": lambda: list(
            task.generate_stream(prompts, seed=0, every=every)
        ),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="emoji_tiny")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--partials", type=int, default=4, help="pictures shown")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    task = load(arguments.preset)
    print("| pictures | what | seconds | of the unstreamed |\n|---|---|---|---|")
    for batch in arguments.batches:
        timed = ways(task, batch, arguments.partials)
        seconds = {name: [] for name in timed}
        for i in range(1 + arguments.rounds):
            for name, function in timed.items():
                taken = seconds_of(function)
                if i:
                    seconds[name].append(taken)
        median = {name: statistics.median(x) for name, x in seconds.items()}
        of = {
            "tokens, streamed": "tokens, unstreamed",
            "`generate_stream`": "`generate`",
        }
        for name, value in median.items():
            ratio = f"{value / median[of[name]]:.2f}" if name in of else ""
            print(f"| {batch} | {name} | {value:.3f} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
