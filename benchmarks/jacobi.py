"""How many tokens a pass of the decoder settles, by the number of guesses.

Draws emoji with windows of several widths (`keras_dalle/generation/decoding.py`), with
the same tokens for each, and prints the passes, the tokens a pass and the seconds.

python -m benchmarks.jacobi
"""

# B pictures, T image tokens, W positions of a pass

import argparse
import time

import tensorflow as tf

from keras_dalle.commands.preset_names import load_task
from keras_dalle.generation import decoding
from keras_dalle.generation.conditioning import Prompts
from keras_dalle.generation.parameters import PARAMETERS

PROMPTS = ("red heart", "woman firefighter: dark skin tone", "cat face", "rainbow")
SETTINGS = {
    "the preset's defaults": {},
    "guidance 4, temperature 1": {"guidance_scale": 4.0, "temperature": 1.0},
    "greedy": {"top_k": 1},
}


class CountingDecoder(decoding.ImageTokenDecoder):
    """Counts its passes."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.passes = tf.Variable(0)

    def _pass(self, *arguments):
        self.passes.assign_add(1)
        return super()._pass(*arguments)


def drawer(task, window, batch_size):
    """A decoder, and a function from prompts and seeds to image tokens."""
    decoder = CountingDecoder(task.backbone, task.vqgan.codebook_size, window=window)

    @tf.function
    def draw(prompts_B, parameters):
        texts = (
            task.preprocessor.generate_preprocess(prompts_B),
            task.preprocessor.negative_preprocess(tf.fill([batch_size], "")),
        )
        prompts = Prompts.of_one_each(*(x for text in texts for x in text.values()))
        conditioning, state = decoder.start(prompts)
        return decoder.tokens(
            decoder.advance(conditioning, state, parameters, decoder.length)
        )

    return decoder, draw


def measure(task, window, overrides, images):
    """Tokens of single pictures, passes a picture and seconds a picture."""
    decoder, draw = drawer(task, window, 1)
    values = {**task.generation_defaults, **overrides}
    tokens, seconds = [], 0.0
    for i in range(-1, images):
        values["seed"] = max(i, 0)
        parameters = {
            p.name: tf.constant([values[p.name]], p.dtype) for p in PARAMETERS
        }
        if i == 0:
            decoder.passes.assign(0)
        start = time.perf_counter()
        drawn = draw(tf.constant([PROMPTS[i % len(PROMPTS)]]), parameters).numpy()
        if i >= 0:
            seconds += time.perf_counter() - start
            tokens.append(drawn)
    return tokens, int(decoder.passes) / images, seconds / images


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="emoji_tiny")
    parser.add_argument("--images", type=int, default=16)
    arguments = parser.parse_args()
    task = load_task(arguments.preset)
    length = task.backbone.image_length
    print(
        "| drawn with | W | passes | tokens a pass | seconds |\n|---|---|---|---|---|"
    )
    for name, overrides in SETTINGS.items():
        expected = None
        for window in (1, 2, 4, 6, 8, 16):
            tokens, passes, seconds = measure(task, window, overrides, arguments.images)
            expected = expected or tokens
            if any((a != b).any() for a, b in zip(tokens, expected, strict=True)):
                raise SystemExit(f"A window of {window} drew other tokens.")
            print(
                f"| {name} | {window} | {passes:.1f} | {length / passes:.2f} "
                f"| {seconds:.3f} |"
            )


if __name__ == "__main__":
    main()
