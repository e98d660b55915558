"""Do several passes complete pictures better?

Takes true emoji, has the upper half drawn anew while the lower half stays, and compares
numbers of passes: the log-likelihood of the image tokens that stay, given what was
drawn above them, and how far the drawn half is from the true one.

    python -m benchmarks.completion
"""

# Q pictures, T image tokens, H height, W width

import argparse

import numpy as np

from keras_dalle.commands.preset_names import load_task
from keras_dalle.data.emoji_dataset import emoji_split
from keras_dalle.data.emoji_split import SPLITS
from keras_dalle.recipes import DATA_DIRECTORY


def measured(task, captions, images, passes, temperature):
    """Mean log-likelihood of what stays, and mean RGB distance of what was drawn."""
    size, length = task.vqgan.image_size, task.backbone.image_length
    upper = np.arange(size)[:, None] * np.ones(size) < size // 2
    drawn = task.generate(
        {"prompts": captions},
        image=list(images),
        mask=upper,
        seed=0,
        passes=passes,
        temperature=temperature,
        return_tokens=True,
    )
    inputs = {"prompts": captions, "image_tokens": drawn["image_tokens"]}
    kept_QT = task.score(inputs, per_token=True)[:, length // 2 :]
    change_QHWC = drawn["images"].astype(float) - images
    distance_Q = np.sqrt((change_QHWC[:, : size // 2] ** 2).mean(axis=(1, 2, 3)))
    return kept_QT.sum(axis=1).mean(), distance_Q.mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", default="emoji_tiny")
    parser.add_argument("--data-dir", default=DATA_DIRECTORY)
    parser.add_argument("--split", choices=SPLITS, default="validation")
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--passes", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--temperature", type=float, help="default: the preset's")
    arguments = parser.parse_args()
    task = load_task(arguments.preset)
    captions, images = emoji_split(arguments.data_dir, arguments.split)
    count = min(arguments.pictures, len(captions))
    places = np.linspace(0, len(captions) - 1, count).astype(int)
    chosen = [captions[place] for place in places]
    print("| passes | log p(lower half) | RGB distance of the upper half |")
    print("|" + "---|" * 3)
    for passes in arguments.passes:
        kept, distance = measured(
            task, chosen, images[places], passes, arguments.temperature
        )
        print(f"| {passes} | {kept:.1f} | {distance:.1f} |", flush=True)


if __name__ == "__main__":
    main()
