"""Does ranking find the pictures that show what was asked for?

Draws several pictures of emoji names and lets each ranker choose one. A choice is right
where the true picture of the name is the nearest of all by RGB distance. Beside the
rankers: "any picture", the share of right pictures among all that were drawn, which is
what no ranking gives; "mixed", a quarter of the mutual information and three quarters
of the likelihood; and "perfect", where any of a prompt's pictures is right.

    python -m benchmarks.ranking
"""

# Q prompts, N pictures a prompt

import argparse

import numpy as np

from keras_dalle.commands.preset_names import load_task
from keras_dalle.data.emoji_dataset import emoji_split
from keras_dalle.data.emoji_split import SPLITS
from keras_dalle.evaluation.retrieval import rank_by_rgb_distance
from keras_dalle.generation.ranking import best_first
from keras_dalle.generation.scoring import SCORING_MODES
from keras_dalle.recipes import DATA_DIRECTORY

# What is drawn with, by name; the first is the preset's own defaults.
SETTINGS = {
    "defaults": {},
    "guidance 1, temperature 1": {"guidance_scale": 1.0, "temperature": 1.0},
}


def right_and_scores(task, captions, targets, gallery, num_images, parameters):
    """Whether each picture is right, bool [Q, N], and its scores [Q, N] by mode."""
    drawn = task.generate(
        {"prompts": captions},
        num_images=num_images,
        seed=0,
        return_tokens=True,
        **parameters,
    )
    images = drawn["images"].reshape(-1, *gallery.shape[1:])
    ranks = rank_by_rgb_distance(images, gallery, np.repeat(targets, num_images))
    inputs = {
        "prompts": np.repeat(captions, num_images),
        "image_tokens": drawn["image_tokens"].reshape(len(images), -1),
    }
    shape = (len(captions), num_images)
    scores = {
        mode: task.score(inputs, scoring_mode=mode).reshape(shape)
        for mode in SCORING_MODES
    }
    return ranks.reshape(shape) == 1, scores


def shares(right_QN, scores):
    """Share of right choices by the way to choose."""
    result = {"any picture": right_QN.mean()}
    mixed_QN = 0.25 * scores["pmi"] + 0.75 * scores["log_likelihood"]
    for mode, scores_QN in {**scores, "mixed": mixed_QN}.items():
        best_Q1 = best_first(scores_QN)[:, :1]
        result[mode] = np.take_along_axis(right_QN, best_Q1, axis=1).mean()
    return {**result, "perfect": right_QN.any(axis=1).mean()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", default="emoji_tiny")
    parser.add_argument("--data-dir", default=DATA_DIRECTORY)
    parser.add_argument("--prompts", type=int, default=100, help="of each split")
    parser.add_argument("--num-images", type=int, default=16, help="a prompt")
    arguments = parser.parse_args()
    task = load_task(arguments.preset)
    splits = {split: emoji_split(arguments.data_dir, split) for split in SPLITS}
    gallery = np.concatenate([images for _, images in splits.values()])
    columns = ["any picture", *SCORING_MODES, "mixed", "perfect"]
    print(f"| drawn with | split | prompts | {' | '.join(columns)} |")
    print("|" + "---|" * (len(columns) + 3))
    for setting, parameters in SETTINGS.items():
        first = 0
        for split, (captions, _) in splits.items():
            count = min(arguments.prompts, len(captions))
            places = np.linspace(0, len(captions) - 1, count).astype(int)
            right_QN, scores = right_and_scores(
                task,
                [captions[place] for place in places],
                first + places,
                gallery,
                arguments.num_images,
                parameters,
            )
            first += len(captions)
            cells = [f"{share:.1%}" for share in shares(right_QN, scores).values()]
            name = split.replace("_", " ")
            row = f"| {setting} | {name} | {count} | {' | '.join(cells)} |"
            print(row, flush=True)


if __name__ == "__main__":
    main()
