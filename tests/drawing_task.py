"""A stand-in for `DalleBartTextToImage` in tests of the command line."""

from types import SimpleNamespace

import numpy as np

from tests.toy_task import ToyTask

SIZE = 8


class DrawingTask(ToyTask):
    """A picture whose colour says with which prompt, seed and top-k it was asked for.

    Attributes:
        batches: the prompts of each call.
        bad: prompts that fail every call they are in.
    """

    def __init__(self, bad=()):
        super().__init__()
        self.batches = []
        self.preprocessor = SimpleNamespace(kept_and_left_out=_of_words)
        self.bad = [prompt.encode() for prompt in bad]

    def generate(self, inputs, *, num_images=1, **parameters):
        prompts = inputs["prompts"]
        self.batches.append([prompt.decode(errors="replace") for prompt in prompts])
        for prompt in prompts:
            if prompt in self.bad:
                raise ValueError(f"`prompt` must be good. Received: {prompt.decode()}")
        colours = [
            (len(prompt) % 250, seed % 250, top_k % 250)
            for prompt, seed, top_k in zip(
                prompts, parameters["seed"], parameters["top_k"], strict=True
            )
        ]
        images = np.zeros([len(prompts), SIZE, SIZE, 3], np.uint8)
        images[:] = np.array(colours, np.uint8)[:, None, None]
        return images


def _of_words(prompts):
    """Cuts prompts like a preprocessor that reads 30 words."""
    pairs = [(b" ".join(x.split()[:30]), b" ".join(x.split()[30:])) for x in prompts]
    return [(kept.decode(), rest.decode()) for kept, rest in pairs if rest]
