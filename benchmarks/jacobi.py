"""How many tokens a pass of the decoder settles, by number of guesses and their way.

Draws emoji with windows of several widths (`keras_dalle/generation/decoding.py`), then
with one width and several ways to guess, with the same tokens for each, and prints the
passes, the tokens a pass and the seconds.

python -m benchmarks.jacobi
"""

# B pictures, T image tokens, W positions of a pass, L = T + 1

import argparse
import math
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


WINDOWS = (1, 2, 4, 6, 8, 16)
UNSEEN = -1  # a token that no pass has drawn yet


class CountingDecoder(decoding.ImageTokenDecoder):
    """Counts its passes."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.passes = tf.Variable(0)

    def _pass(self, *arguments):
        self.passes.assign_add(1)
        return super()._pass(*arguments)


class OwnFirstGuesses(CountingDecoder):
    """Guesses a token that no pass has drawn yet from the tokens before it."""

    def start(self, prompts, known=None):
        conditioning, state = super().start(prompts, known)
        unseen_BT = tf.where(state.mask_BT, state.sequence_BL[:, 1:], UNSEEN)
        sequence_BL = tf.concat([state.sequence_BL[:, :1], unseen_BT], axis=1)
        return conditioning, state._replace(sequence_BL=sequence_BL)

    def _pass(self, conditioning, state, parameters):
        guessed_BL = self._first_guesses(state.sequence_BL)
        behind_B1 = (state.position_B + self._width(state, conditioning))[:, None]
        is_now_BL = (state.sequence_BL == UNSEEN) & (
            tf.range(self.length + 1) <= behind_B1
        )
        sequence_BL = tf.where(is_now_BL, guessed_BL, state.sequence_BL)
        return super()._pass(
            conditioning, state._replace(sequence_BL=sequence_BL), parameters
        )


class LeftToken(OwnFirstGuesses):
    """Repeats the token before the first unseen one."""

    def _first_guesses(self, sequence_BL):
        seen_B = tf.reduce_sum(tf.cast(sequence_BL != UNSEEN, tf.int32), axis=1)
        last_B1 = tf.gather(sequence_BL, seen_B - 1, batch_dims=1)[:, None]
        last_B1 = tf.where(seen_B[:, None] > 1, last_B1, 0)  # not the start token
        return tf.where(sequence_BL == UNSEEN, last_B1, sequence_BL)


class UpperToken(LeftToken):
    """Repeats the token a row of the grid above, in the first row that on the left."""

    def _first_guesses(self, sequence_BL):
        row = math.isqrt(self.length)
        above_BL = tf.pad(
            sequence_BL[:, 1:-row], [[0, 0], [row + 1, 0]], constant_values=UNSEEN
        )
        copied_BL = tf.where(sequence_BL == UNSEEN, above_BL, sequence_BL)
        return super()._first_guesses(copied_BL)


class LastArgmax(CountingDecoder):
    """Guesses the last pass's likeliest token where what it drew is not final."""

    def _logits(self, *arguments):
        logits_BWV, cache = super()._logits(*arguments)
        self._likeliest_BW = tf.argmax(logits_BWV, axis=2, output_type=tf.int32)
        return logits_BWV, cache

    def _pass(self, conditioning, state, parameters):
        width = self._width(state, conditioning)
        first_B1 = tf.minimum(state.position_B, self.length - width)[:, None]
        new = super()._pass(conditioning, state, parameters)
        positions_BW = first_B1 + tf.range(width)
        drawn_BW = tf.gather(new.sequence_BL, positions_BW + 1, batch_dims=1)
        is_final_BW = positions_BW < new.position_B[:, None]
        guesses_BW = tf.where(is_final_BW, drawn_BW, self._likeliest_BW)
        rows_BW = tf.zeros_like(positions_BW) + tf.range(tf.shape(drawn_BW)[0])[:, None]
        places_BW2 = tf.stack([rows_BW, positions_BW + 1], axis=2)
        sequence_BL = tf.tensor_scatter_nd_update(
            new.sequence_BL, places_BW2, guesses_BW
        )
        return new._replace(sequence_BL=sequence_BL)


WAYS = {
    "code 0, then what the last pass drew (ours)": CountingDecoder,
    "the left token, then the same": LeftToken,
    "the upper token, then the same": UpperToken,
    "code 0, then the last pass's likeliest": LastArgmax,
}


def drawer(task, decoder_class, window, batch_size):
    """A decoder, and a function from prompts and seeds to image tokens."""
    decoder = decoder_class(task.backbone, task.vqgan.codebook_size, window=window)

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


def measure(task, decoder_class, window, overrides, images):
    """Tokens of single pictures, passes a picture and seconds a picture."""
    decoder, draw = drawer(task, decoder_class, window, 1)
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
    parser.add_argument("--window", type=int, default=8, help="W of the ways to guess")
    arguments = parser.parse_args()
    task = load_task(arguments.preset)
    print(
        "| drawn with | guesses | W | passes | tokens a pass | seconds |\n"
        "|---|---|---|---|---|---|"
    )
    for name, overrides in SETTINGS.items():
        rows = [("ours", CountingDecoder, window) for window in WINDOWS]
        rows += [(way, decoder, arguments.window) for way, decoder in WAYS.items()]
        print_rows(task, name, overrides, rows, arguments.images)


def print_rows(task, name, overrides, rows, images):
    """One row a width and way of guessing, all of the same tokens."""
    length = task.backbone.image_length
    expected = None
    for way, decoder_class, window in rows:
        tokens, passes, seconds = measure(
            task, decoder_class, window, overrides, images
        )
        expected = expected or tokens
        if any((a != b).any() for a, b in zip(tokens, expected, strict=True)):
            raise SystemExit(f"A window of {window}, {way}, drew other tokens.")
        print(
            f"| {name} | {way} | {window} | {passes:.1f} | {length / passes:.2f} "
            f"| {seconds:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
