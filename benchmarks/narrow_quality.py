"""What narrow weights change in what `emoji_tiny` draws.

Teacher-forced over the pictures of the validation split: the divergence of each token's
distribution from that of float32, and how often the likeliest token is another. Then
drawn with seed 0 as `keras-dalle evaluate` does: how many image tokens differ from
float32's, and retrieval of the true picture.

PYTHONPATH=. python benchmarks/narrow_quality.py
"""

# P pictures, B pictures of a batch, S text tokens, T image tokens, V codes

import argparse

import numpy as np
import tensorflow as tf

from keras_dalle.data.emoji_dataset import emoji_split
from keras_dalle.data.emoji_split import SPLITS, VALIDATION
from keras_dalle.evaluation.retrieval import rank_by_rgb_distance, top_k_accuracy
from keras_dalle.layers.narrow_weights import WEIGHTS
from keras_dalle.models import DalleBartTextToImage
from keras_dalle.recipes import DATA_DIRECTORY

PRESET = "emoji_tiny"
BATCH = 32


def log_probabilities(task, captions, tokens_PT):
    """Float32 [P, T, V], each token's given the true ones before it."""
    num_codes = task.vqgan.codebook_size

    @tf.function(reduce_retracing=True, autograph=False)
    def batch(captions_B, tokens_BT):
        text = task.preprocessor.generate_preprocess(captions_B)
        start_B1 = tf.fill(
            [tf.shape(tokens_BT)[0], 1], task.backbone.decoder_start_token_id
        )
        seen_BT = tf.concat([start_B1, tokens_BT[:, :-1]], axis=1)
        logits_BTV = task.backbone({**text, "decoder_token_ids": seen_BT})["logits"]
        return tf.nn.log_softmax(logits_BTV[:, :, :num_codes])

    parts = [
        batch(tf.constant(captions[i : i + BATCH]), tokens_PT[i : i + BATCH]).numpy()
        for i in range(0, len(captions), BATCH)
    ]
    return np.concatenate(parts)


def divergence(expected_PTV, found_PTV):
    """Mean KL divergence a token, and the share of tokens with another likeliest."""
    kl_PT = np.sum(np.exp(expected_PTV) * (expected_PTV - found_PTV), axis=-1)
    others_PT = expected_PTV.argmax(axis=-1) != found_PTV.argmax(axis=-1)
    return float(kl_PT.mean()), float(others_PT.mean())


def drawing(task, captions, gallery_NHWC, targets_P):
    """Image tokens [P, T], and retrieval of the true pictures in the first 1, 5, 10."""
    drawn = task.generate(captions, seed=0, return_tokens=True)
    ranks_P = rank_by_rgb_distance(drawn["images"], gallery_NHWC, targets_P)
    return drawn["image_tokens"], [top_k_accuracy(ranks_P, k) for k in (1, 5, 10)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", default=DATA_DIRECTORY)
    data_directory = parser.parse_args().data_dir
    splits = {split: emoji_split(data_directory, split) for split in SPLITS}
    gallery_NHWC = np.concatenate([images for _, images in splits.values()])
    first = sum(len(splits[x][0]) for x in SPLITS[: SPLITS.index(VALIDATION)])
    captions, images = splits[VALIDATION]
    targets_P = np.arange(first, first + len(captions))
    task = DalleBartTextToImage.from_preset(PRESET)
    tokens_PT = np.concatenate(
        [
            np.asarray(task.vqgan.encode_images(images[i : i + BATCH]))
            for i in range(0, len(images), BATCH)
        ]
    )
    expected_PTV = log_probabilities(task, captions, tokens_PT)
    expected_PT, _ = drawing(task, captions, gallery_NHWC, targets_P)
    print(
        "| weights | divergence a token, nats | another likeliest token | "
        "drawn tokens that differ | pictures that differ | top-1 | top-5 | top-10 |"
    )
    print("|---" * 8 + "|")
    for weights in WEIGHTS:
        narrow = DalleBartTextToImage.from_preset(PRESET, weights=weights)
        found_PTV = log_probabilities(narrow, captions, tokens_PT)
        kl, others = divergence(expected_PTV, found_PTV)
        found_PT, top_k = drawing(narrow, captions, gallery_NHWC, targets_P)
        differs_PT = found_PT != expected_PT
        shares = " | ".join(f"{share:.1%}" for share in top_k)
        print(
            f"| {weights} | {kl:.1e} | {others:.2%} | {differs_PT.mean():.1%} | "
            f"{differs_PT.any(axis=1).mean():.1%} | {shares} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
