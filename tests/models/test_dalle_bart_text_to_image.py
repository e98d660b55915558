"""`DalleBartTextToImage`: training data, generation, presets, faults."""

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.models import DalleBartTextToImage, VQGANBackbone
from tests.golden.golden_data import ROOT, cases
from tests.tiny_preset import tiny_task

CAPTIONS = ["a red heart", "the sun", "", "a dog that sits"]


@pytest.fixture(scope="module")
def task():
    return tiny_task()


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3)).astype("uint8")


@pytest.fixture
def preset(task, tmp_path):
    task.save_to_preset(str(tmp_path))
    return tmp_path


# === Training ===


def test_images_and_their_tokens_train_alike(images):
    histories = []
    for with_images in (True, False):
        task = tiny_task()
        data = {"captions": CAPTIONS, "images": images}
        if not with_images:
            tokens = task.vqgan.encode_images(images)
            data = {"captions": CAPTIONS, "image_tokens": tokens}
        history = task.fit(data, batch_size=2, epochs=2, shuffle=False, verbose=0)
        histories.append(history.history)
    assert set(histories[0]) == {"loss", "perplexity", "token_accuracy"}
    for name, values in histories[0].items():
        np.testing.assert_allclose(values, histories[1][name], rtol=1e-5)


def test_fit_learns_and_leaves_the_vqgan_alone(images):
    task = tiny_task()
    task.compile(optimizer=keras.optimizers.Adam(1e-2))
    before = [weight.numpy() for weight in task.vqgan.weights]
    data = {"captions": CAPTIONS, "images": images}
    repeated = {
        "captions": CAPTIONS * 30,
        "images": np.concatenate([images] * 30),
    }
    task.fit(repeated, batch_size=4, shuffle=False, verbose=0)
    results = task.evaluate(data, batch_size=4, verbose=0, return_dict=True)
    assert results["token_accuracy"] > 0.5
    assert results["perplexity"] == pytest.approx(np.exp(results["loss"]), rel=1e-4)
    for weight, value in zip(task.vqgan.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_fit_takes_datasets_and_validation_data(images):
    task = tiny_task()
    data = {"captions": CAPTIONS, "images": images}
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(2)
    history = task.fit(dataset, validation_data=dataset, verbose=0).history
    loss = task.evaluate(data, batch_size=2, verbose=0, return_dict=True)["loss"]
    assert history["val_loss"][-1] == pytest.approx(loss, rel=1e-5)


def test_predict_gives_logits(task, images):
    data = {"captions": CAPTIONS, "images": images}
    assert task.predict(data, batch_size=2, verbose=0).shape == (4, 16, 33)


def test_loss_is_the_mean_over_all_positions(task, images):
    data = {"captions": CAPTIONS, "images": images}
    logits = task.predict(data, batch_size=4, verbose=0)
    tokens = np.asarray(task.vqgan.encode_images(images))
    log_probabilities = tf.nn.log_softmax(logits).numpy()
    chosen = np.take_along_axis(log_probabilities, tokens[..., None], axis=-1)
    loss = task.evaluate(data, batch_size=4, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(-chosen.mean(), rel=1e-5)


def test_blank_captions_in_training_only(task):
    layer = type(task.blank_captions)(0.5, seed=0)
    preprocessed = task.preprocessor.generate_preprocess(["a red heart"] * 200)
    token_ids = preprocessed["encoder_token_ids"]
    mask = preprocessed["encoder_padding_mask"]
    kept_ids, kept_mask = layer(token_ids, mask, training=False)
    np.testing.assert_array_equal(kept_ids, token_ids)
    np.testing.assert_array_equal(kept_mask, mask)
    blank = task.preprocessor.generate_preprocess([""])
    some_ids, some_mask = layer(token_ids, mask, training=True)
    is_blank = np.all(some_ids == blank["encoder_token_ids"], axis=1)
    assert 60 < is_blank.sum() < 140
    np.testing.assert_array_equal(
        np.asarray(some_mask)[is_blank],
        np.repeat(blank["encoder_padding_mask"], is_blank.sum(), axis=0),
    )
    np.testing.assert_array_equal(
        np.asarray(some_ids)[~is_blank], np.asarray(token_ids)[~is_blank]
    )


def test_token_noise_in_training_only(task):
    tokens = np.full((200, 64), 5, "int32")
    layer = type(task.token_noise)(0.5, vocabulary_size=32, seed=0)
    np.testing.assert_array_equal(layer(tokens, training=False), tokens)
    noisy = np.asarray(layer(tokens, training=True))
    share_B = (noisy != 5).mean(axis=1)
    assert 0.2 < share_B.mean() < 0.3 and share_B.min() < 0.1 < 0.4 < share_B.max()
    assert noisy.min() >= 0 and noisy.max() < 32


# === Generation ===


def test_shapes(task):
    assert task.generate("a cat", seed=0).shape == (8, 8, 3)
    assert task.generate(["a cat", "a dog"], seed=0).shape == (2, 8, 8, 3)
    assert task.generate("a cat", num_images=3, seed=0).shape == (3, 8, 8, 3)
    pictures = task.generate(["a cat", "a dog"], num_images=3, seed=0)
    assert pictures.shape == (2, 3, 8, 8, 3) and pictures.dtype == np.uint8
    assert task.generate([]).shape == (0, 8, 8, 3)


def test_a_picture_depends_on_its_own_row_alone(task):
    prompts = {"prompts": CAPTIONS * 20, "negative_prompts": ["x", "", "y", "z"] * 20}
    parameters = {
        "seed": list(range(80)),
        "temperature": [0.5, 1.0] * 40,
        "top_k": [0, 5, 50, 1] * 20,
        "top_p": [1.0, 0.7] * 40,
        "guidance_scale": [1.0, 3.0, 10.0, 0.0] * 20,
    }
    together = task.generate(prompts, **parameters)
    for row in (0, 3, 41, 66, 79):
        alone = task.generate(
            {name: values[row] for name, values in prompts.items()},
            **{name: values[row] for name, values in parameters.items()},
        )
        np.testing.assert_array_equal(alone, together[row])


def test_forms_of_prompts(task):
    cat, dog = task.generate(["a cat", "a dog"], seed=0)
    np.testing.assert_array_equal(task.generate(b"a cat", seed=0), cat)
    np.testing.assert_array_equal(task.generate({"prompts": ["a dog"]}, seed=0)[0], dog)
    one = {"prompts": ["a cat", "a dog"], "negative_prompts": "the sun"}
    each = {"prompts": ["a cat", "a dog"], "negative_prompts": ["the sun"] * 2}
    np.testing.assert_array_equal(
        task.generate(one, seed=0), task.generate(each, seed=0)
    )
    with pytest.raises(ValueError, match="Received: .'prompt'"):
        task.generate({"prompt": "a cat"})


def test_images_of_a_prompt_have_seeds_in_sequence(task):
    three = task.generate("a cat", num_images=3, seed=7)
    for i in range(3):
        np.testing.assert_array_equal(three[i], task.generate("a cat", seed=7 + i))
    assert not np.array_equal(three[0], three[1])


def test_without_a_seed_pictures_differ(task):
    # Sixteen, since two pictures of four tokens may well be the same.
    first, second = (task.generate("a cat", num_images=16) for _ in range(2))
    assert not np.array_equal(first, second)


def test_guidance_and_negative_prompts_matter(task):
    plain = task.generate("a cat", guidance_scale=1.0, seed=0)
    guided = task.generate("a cat", guidance_scale=10.0, seed=0)
    away = {"prompts": "a cat", "negative_prompts": "a dog that sits"}
    assert not np.array_equal(plain, guided)
    assert not np.array_equal(guided, task.generate(away, seed=0))


def test_generation_defaults_of_a_model(task, tmp_path):
    parts = (task.backbone, task.preprocessor, task.vqgan)
    own = DalleBartTextToImage(*parts, generation_defaults={"guidance_scale": 3.0})
    own.save_to_preset(str(tmp_path))
    own = DalleBartTextToImage.from_preset(str(tmp_path))
    expected = task.generate(CAPTIONS, seed=0, guidance_scale=3.0)
    np.testing.assert_array_equal(own.generate(CAPTIONS, seed=0), expected)
    assert not np.array_equal(task.generate(CAPTIONS, seed=0), expected)


@pytest.mark.parametrize(
    ("defaults", "message"),
    [
        (
            {"guidance": 3.0},
            "must be of the parameters guidance_scale, .* Received: guidance",
        ),
        ({"temperature": 0.0}, "`temperature` must be a finite number above 0"),
    ],
)
def test_faulty_generation_defaults(task, defaults, message):
    with pytest.raises(ValueError, match=message):
        DalleBartTextToImage(task.backbone, generation_defaults=defaults)


@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param("", id="empty"),
        pytest.param("x" * 10_000, id="long"),
        pytest.param(b"\xff\xfe broken \x80", id="invalid UTF-8"),
        pytest.param("\0 nul", id="NUL"),
        pytest.param("🫀" * 100, id="unknown characters"),
    ],
)
def test_any_prompt_has_a_picture(task, prompt):
    assert task.generate({"prompts": [prompt]}, seed=0).shape == (1, 8, 8, 3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"temperature": -1.0}, "`temperature` must be .* Received: -1"),
        ({"top_p": 0.0}, "`top_p` must be above 0"),
        ({"top_k": -3}, "`top_k` must be 0"),
        ({"guidance_scale": float("nan")}, "`guidance_scale` must be a finite"),
        ({"seed": [1, 2, 3]}, r"`seed` must be one value, or one per prompt \(=2\)"),
        ({"seed": 2**64}, "`seed` must fit int64. Received: 18446744073709551616"),
        ({"num_images": 0}, "`num_images` must be an integer of at least 1"),
    ],
)
def test_parameters_out_of_range(task, parameters, message):
    with pytest.raises(ValueError, match=message):
        task.generate(["a cat", "a dog"], **parameters)


def test_generation_needs_a_vqgan(task):
    blind = DalleBartTextToImage(task.backbone, task.preprocessor)
    with pytest.raises(ValueError, match="needs a VQGAN. Pass `vqgan="):
        blind.generate("a cat")


# === Presets ===


def test_preset_round_trip(task, preset, images):
    loaded = DalleBartTextToImage.from_preset(str(preset))
    np.testing.assert_array_equal(
        loaded.generate(CAPTIONS, seed=1), task.generate(CAPTIONS, seed=1)
    )
    assert loaded.get_config() == task.get_config()


def test_a_trained_preset_holds_no_optimizer_and_a_frozen_vqgan(images, tmp_path):
    task = tiny_task()
    task.fit({"captions": CAPTIONS, "images": images}, verbose=0)
    task.save_to_preset(str(tmp_path))
    for path in tmp_path.glob("*.weights.h5"):
        with h5py.File(path) as file:
            assert "optimizer" not in file
    loaded = DalleBartTextToImage.from_preset(str(tmp_path))
    assert len(loaded.trainable_variables) == len(task.backbone.trainable_variables)


def test_truncated_weights(preset):
    weights = preset / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="model.weights.h5 .*truncated"):
        DalleBartTextToImage.from_preset(str(preset))


@pytest.mark.parametrize("latent_channels", [32, 64])
def test_a_given_vqgan_keeps_its_weights(task, preset, latent_channels):
    given = VQGANBackbone.from_config(
        {**task.vqgan.get_config(), "latent_channels": latent_channels}
    )
    before = given.get_weights()
    loaded = DalleBartTextToImage.from_preset(preset, vqgan=given)
    assert loaded.vqgan is given
    for found, expected in zip(given.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)
    if latent_channels == 32:  # Later, its owner may still load the preset's.
        loaded.load_task_weights(str(preset / "task.weights.h5"))
        tokens = np.arange(16)[None]
        np.testing.assert_array_equal(
            given.decode_images(tokens), task.vqgan.decode_images(tokens)
        )


@pytest.mark.parametrize("given", [7, "vqgan", keras.Sequential()])
def test_what_is_no_vqgan_is_refused(preset, given):
    with pytest.raises(ValueError, match="`vqgan` must be a VQGANBackbone. Received"):
        DalleBartTextToImage.from_preset(preset, vqgan=given)


@pytest.mark.parametrize("case", cases("dallebart"), ids=lambda path: path.name)
def test_original_folder(case, tmp_path):
    vqgan = VQGANBackbone.from_preset(cases("vqgan_flax")[0])
    for file in [*case.iterdir(), *(ROOT / "text" / "tokenizer").iterdir()]:
        (tmp_path / file.name).symlink_to(file)
    task = DalleBartTextToImage.from_preset(tmp_path, vqgan=vqgan)
    assert task.preprocessor.max_text_length == task.backbone.max_text_length
    assert task.preprocessor(
        {"captions": ["a cat"], "image_tokens": np.zeros((1, 16), "int32")}
    )[0]["encoder_token_ids"].shape == (1, task.backbone.max_text_length)
