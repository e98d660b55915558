"""The data that `fit` and similar methods take, and their errors for others."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from PIL import Image

from tests.tiny_preset import tiny_task

CAPTIONS = ["a lake", "", "two hats", "a map"]
RNG = np.random.default_rng(5)
TOKENS = RNG.integers(0, 32, (4, 16))
IMAGES = RNG.integers(0, 256, (4, 8, 8, 3)).astype("uint8")
slices = tf.data.Dataset.from_tensor_slices


@pytest.fixture(scope="module")
def task():
    return tiny_task()


def with_images(images):
    return {"captions": CAPTIONS, "images": images}


def with_tokens(tokens):
    return {"captions": CAPTIONS, "image_tokens": tokens}


def batches(data):
    return slices(data).batch(2)


# === Pictures ===

WIDE = RNG.integers(0, 256, (4, 11, 17, 4)).astype("uint8")


@pytest.mark.parametrize(
    "images",
    [
        IMAGES,
        IMAGES[..., 0],
        IMAGES[..., :2],
        WIDE,
        WIDE[..., :3],
        WIDE[:, :8, 3:11],
        (WIDE[..., 1:] / 255).astype("float32"),
        RNG.random((4, 6, 6, 1)),
    ],
    ids=lambda images: f"{images.dtype} {images.shape}",
)
def test_pictures_are_those_that_generate_takes(task, images):
    expected = task.encode_images(images)
    eager, _ = task.preprocess_samples(with_images(images))
    (in_graph,) = slices(with_images(images)).batch(4).map(task.preprocess_samples)
    for inputs in (eager, in_graph[0]):
        np.testing.assert_array_equal(inputs["image_tokens"], expected)


def test_fit_takes_lists_of_pictures_of_any_size(task):
    images = [WIDE[0], RNG.random((5, 30)), Image.new("LA", (9, 9)), IMAGES[0]]
    logits = task.predict(with_images(images), verbose=0)
    tokens = task.encode_images(images)
    np.testing.assert_allclose(
        logits, task.predict(with_tokens(tokens), verbose=0), rtol=1e-5, atol=1e-5
    )
    task.fit(with_images(images), validation_split=0.5, verbose=0)


# === Faults ===


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"captions": CAPTIONS}, "`captions` and one of .* Received: .'captions'.."),
        ({**with_images(IMAGES), "image_tokens": TOKENS}, "one of `images` and `image"),
        (with_tokens(TOKENS + 9), "from 0 to 31. Received: .* to 4"),
        (with_tokens(TOKENS - 1), "from 0 to 31. Received: -1 to"),
        (with_tokens(TOKENS.reshape(4, 4, 4)), r"4, 4\). Make a row of each grid"),
        (with_tokens(np.tile(TOKENS, 2)), "T at most 16. Received: int64 .*32"),
        (with_tokens(TOKENS / 1), "must be integers .* float64"),
        (with_images(IMAGES.astype("int16")), "uint8, or float from 0 to 1. .* int16"),
        (with_images(IMAGES.astype("float32")), "from 0 to 1. Received: . to 2"),
        (with_images(np.full((4, 8, 8, 3), np.nan)), "from 0 to 1. Received: nan"),
    ],
)
def test_faults_in_memory_and_in_datasets(task, data, message):
    for x in (data, batches(data)):
        with pytest.raises(ValueError, match=f"(?s)^[^\n]*{message}[^\n]*$"):
            task.fit(x, verbose=0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (with_images(IMAGES[:3]), "Received: 4 captions and 3 `images`"),
        (with_images(IMAGES[0]), "`images` must be a batch .* Received: one picture"),
        ({"captions": "a lake", "image_tokens": TOKENS[:1]}, "Received: one text"),
        ({"captions": ["a", 5, "", ""], "images": IMAGES}, "`captions` must be a text"),
        (with_tokens([[1, 2], [3], [4], [5]]), "must be rows of one length"),
        (slices(with_tokens(TOKENS)), r"must be batches. .* `dataset.batch\(32\)`"),
        (slices(CAPTIONS).batch(2), "`captions` with `images` or `image_tokens`"),
        (
            batches(with_images(tf.ragged.stack([*IMAGES[1:], WIDE[0, ..., 1:]]))),
            "one size",
        ),
    ],
)
def test_faults_of_one_kind_of_data(task, data, message):
    for call in (task.fit, task.evaluate, task.predict):
        with pytest.raises(ValueError, match=f"^[^\n]*{message}"):
            call(data, verbose=0)


class Sequence(keras.utils.PyDataset):
    """As Keras's examples have it."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return with_tokens(TOKENS)


@pytest.mark.parametrize(
    "data",
    [
        (with_tokens(TOKENS) for _ in range(2)),
        Sequence(),
        torch.utils.data.DataLoader([{"captions": "a", "images": IMAGES[0]}]),
        CAPTIONS,
        IMAGES,
        None,
    ],
    ids=lambda data: type(data).__name__,
)
def test_what_is_neither_arrays_nor_a_dataset(task, data):
    message = rf"`tf.data.Dataset` of batches .* Received: .*{type(data).__name__}\. "
    for call in (task.fit, task.evaluate, task.predict):
        with pytest.raises(ValueError, match=message):
            call(data, verbose=0)
    for call in (task.train_on_batch, task.test_on_batch, task.predict_on_batch):
        with pytest.raises(ValueError, match=message):
            call(data)
    if data is not None:
        with pytest.raises(ValueError, match=message):
            task.fit(with_tokens(TOKENS), validation_data=data, verbose=0)


def test_single_batches_are_checked_alike(task):
    for call in (task.train_on_batch, task.test_on_batch, task.predict_on_batch):
        with pytest.raises(ValueError, match="from 0 to 31. Received"):
            call(with_tokens(TOKENS + 1))


def test_classes_have_no_weights(task):
    for call in (task.fit, task.train_on_batch):
        with pytest.raises(ValueError, match="`class_weight` must be `None`.*{3: 2.0}"):
            call(with_tokens(TOKENS), class_weight={3: 2.0})


def test_pictures_have_weights(task):
    half = {name: x[:2] for name, x in with_tokens(TOKENS).items()}
    expected = task.evaluate(half, batch_size=4, verbose=0)[0]
    weight = np.array([2.0, 2.0, 0.0, 0.0])
    data = with_tokens(TOKENS)
    weighed = task.evaluate(data, sample_weight=weight, batch_size=4, verbose=0)[0]
    assert weighed == pytest.approx(expected, rel=1e-5)
    frozen = keras.optimizers.SGD(0.0)
    task.compile(optimizer=frozen)
    history = task.fit(
        data,
        sample_weight=weight,
        validation_data=(data, None, weight),
        batch_size=4,
        verbose=0,
    ).history
    task.compile()
    assert history["loss"] == pytest.approx([expected], rel=1e-5)
    assert history["val_loss"] == pytest.approx([expected], rel=1e-5)
    with pytest.raises(ValueError, match=r"one per picture \(=4\).* Received: \[3\]"):
        task.fit(data, sample_weight=weight[:3], verbose=0)


def test_batch_sizes_and_no_pictures(task):
    for batch_size in (0, "2", 1.0):
        with pytest.raises(ValueError, match="`batch_size` must be an integer of at"):
            task.fit(with_tokens(TOKENS), batch_size=batch_size, verbose=0)
    with pytest.raises(ValueError, match="`images` must be one or more"):
        task.fit({"captions": [], "images": []}, verbose=0)


def test_without_a_preprocessor(task):
    preprocessor, task.preprocessor = task.preprocessor, None
    try:
        x, y = preprocessor(with_tokens(TOKENS))
        task.fit(x, y, verbose=0)
        task.fit(batches(with_tokens(TOKENS)).map(preprocessor), verbose=0)
        for data, message in (
            (
                (with_tokens(TOKENS),),
                "Without a preprocessor, .* Received: .'captions'",
            ),
            ((x, y + 30), "`y` must be .* from 0 to 31"),
            (({**x, "image_tokens": y - 9}, y), "`image_tokens` must be .* from 0"),
            ((slices(with_tokens(TOKENS)).map(preprocessor),), "Batch them"),
        ):
            with pytest.raises(ValueError, match=message):
                task.fit(*data, verbose=0)
    finally:
        task.preprocessor = preprocessor
