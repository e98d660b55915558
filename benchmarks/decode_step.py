"""A pass of the decoder: what XLA makes of it, and what stable rows cost.

Times `decode_step` of DALL·E mini's decoder with random weights for 1, 4 and 16
pictures with guidance: as generation runs it; with attention of W queries, not filled
up to 6 (`keras_dalle/layers/row_stable.py`); and compiled by XLA. They take turns. Then
draws emoji with and without XLA and counts what is equal.

    python -m benchmarks.decode_step
    TF_ENABLE_ONEDNN_OPTS=0 python -m benchmarks.decode_step --pictures 0
"""

# R decoder rows, W positions of a pass, N heads, H head width, L cache length

import argparse
import statistics

import numpy as np
import tensorflow as tf

from benchmarks.generate_models import MINI
from benchmarks.workers import seconds_of
from keras_dalle.commands.preset_names import load_task
from keras_dalle.generation.cache import write_in_place
from keras_dalle.generation.decoding import generate_image_tokens
from keras_dalle.generation.parameters import PARAMETERS
from keras_dalle.layers import row_stable
from keras_dalle.models import DalleBartBackbone

# Pictures and the positions of a pass that generation chooses for them.
PASSES = {1: 8, 4: 2, 16: 1}
FILLED = 128  # cache length, the mean of a picture


class CompiledSteps:
    """A backbone whose `decode_step` XLA compiles, with a writer that XLA knows."""

    def __init__(self, backbone):
        self._backbone = backbone
        self._step = tf.function(
            backbone.decode_step, jit_compile=True, autograph=False
        )

    def __getattr__(self, name):
        return getattr(self._backbone, name)

    def decode_step(self, *arguments, write):
        return self._step(*arguments)


def normal(*shape):
    return tf.random.normal(shape)


def step_inputs(backbone, pictures, width):
    """Inputs of a pass: two rows a picture."""
    num_rows = 2 * pictures
    heads = MINI["num_heads"]
    head_dim = MINI["hidden_dim"] // heads

    def cache(length):
        shape = (num_rows, heads, length, head_dim)
        return [
            (normal(*shape), normal(*shape)) for _ in range(backbone.num_decoder_layers)
        ]

    text_length = MINI["max_text_length"]
    positions_RW = tf.tile(tf.range(width)[None] + FILLED - width, [num_rows, 1])
    return (
        tf.zeros([num_rows, width], tf.int32),
        positions_RW,
        cache(FILLED),
        cache(text_length),
        tf.ones([num_rows, text_length], tf.int32),
    )


def steps_of(backbone):
    """What is timed, by name: `decode_step` as generation runs it, and otherwise."""

    @tf.function(autograph=False)
    def plain(*inputs):
        return backbone.decode_step(*inputs, write=write_in_place)

    @tf.function(autograph=False)
    def unfilled(*inputs):
        filled, row_stable.MIN_QUERIES = row_stable.MIN_QUERIES, 1
        outputs = backbone.decode_step(*inputs, write=write_in_place)
        row_stable.MIN_QUERIES = filled
        return outputs

    compiled = tf.function(backbone.decode_step, jit_compile=True, autograph=False)
    return {"plain": plain, "attention not filled up": unfilled, "XLA": compiled}


def measure_steps(rounds):
    backbone = DalleBartBackbone(**{**MINI, "num_encoder_layers": 1})
    steps = steps_of(backbone)
    print("| pictures | W | step | milliseconds | of plain | first call |")
    print("|---|---|---|---|---|---|")
    for pictures, width in PASSES.items():
        inputs = step_inputs(backbone, pictures, width)

        def take(step, inputs=inputs):
            return seconds_of(lambda: step(*inputs)[0].numpy())

        first = {name: take(step) for name, step in steps.items()}
        taken = [{k: take(step) for k, step in steps.items()} for _ in range(rounds)]
        median = {k: statistics.median(x[k] for x in taken) for k in steps}
        for name, seconds in median.items():
            print(
                f"| {pictures} | {width} | {name} | {1000 * seconds:.1f} "
                f"| {seconds / median['plain']:.2f} | {first[name]:.1f} s |",
                flush=True,
            )


def drawer(task, backbone):
    """A function from seeds to image tokens of one prompt."""

    @tf.function(autograph=False)
    def draw(prompts_B, parameters):
        return generate_image_tokens(
            backbone,
            task.tokenized_prompts(prompts_B, tf.fill(tf.shape(prompts_B), "")),
            parameters,
            codebook_size=task.vqgan.codebook_size,
        )

    return draw


def compare_pictures(preset, count):
    task = load_task(preset)
    draw = drawer(task, task.backbone)
    draw_compiled = drawer(task, CompiledSteps(task.backbone))
    prompts = tf.constant(["red heart", "cat face", "rainbow", "sun"])
    for name, overrides in {
        "the preset's defaults": {},
        "guidance 10, temperature 1": {"guidance_scale": 10.0, "temperature": 1.0},
    }.items():
        equal = []
        for first in range(0, count, 4):
            values = {**task.generation_defaults, **overrides}
            parameters = {
                p.name: tf.fill([4], tf.cast(values[p.name], p.dtype))
                for p in PARAMETERS
            }
            parameters["seed"] = tf.range(first, first + 4, dtype=tf.int64)
            a, b = draw(prompts, parameters), draw_compiled(prompts, parameters)
            equal.append((a == b).numpy())
        equal_BT = np.concatenate(equal)
        print(
            f"{name}: {equal_BT.all(1).sum()} of {count} pictures are equal, "
            f"{equal_BT.mean():.3%} of the tokens"
        )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="emoji_tiny")
    parser.add_argument(
        "--pictures",
        type=int,
        default=64,
        help="emoji drawn with both, a multiple of 4",
    )
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    measure_steps(arguments.rounds)
    if arguments.pictures:
        compare_pictures(arguments.preset, arguments.pictures)


if __name__ == "__main__":
    main()
