"""Models with bfloat16 and int8 weights: loaded, saved, drawing, and served."""

import h5py
import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.converters.dalle_bart import load_dalle_bart, save_dalle_bart
from keras_dalle.generation.cache import write_in_place
from keras_dalle.layers.narrow_weights import NarrowWeights
from keras_dalle.models import DalleBartBackbone, DalleBartTextToImage
from keras_dalle.models.dalle_bart.with_weights import with_weights
from keras_dalle.saved_model.exporter import export_saved_model
from tests.tiny_preset import tiny_task

NARROW = ("bfloat16", "int8")
KERNEL_DTYPE = {"bfloat16": "bfloat16", "int8": "uint8"}
PROMPTS = ["red heart", "woman firefighter: dark skin tone", "", "a cat"]
SEEDS = [3, 1, 4, 1]


@pytest.fixture(scope="module")
def task():
    return tiny_task()


@pytest.fixture(scope="module")
def preset(task, tmp_path_factory):
    folder = tmp_path_factory.mktemp("preset")
    task.save_to_preset(str(folder))
    return folder


@pytest.fixture(scope="module", params=NARROW)
def narrow(request, preset):
    return DalleBartTextToImage.from_preset(preset, weights=request.param)


def tokens_of(task, prompts=PROMPTS, seeds=SEEDS):
    drawn = task.generate(prompts, seed=seeds, top_k=0, return_tokens=True)
    return drawn["image_tokens"]


def kernels_of(backbone):
    """All but that of the head, whose logits bfloat16 would round."""
    return [
        weight
        for weight in backbone.weights
        if weight.name == "kernel" and not weight.path.startswith("image_head")
    ]


def test_kernels_are_narrow_and_the_rest_is_not(narrow):
    weights = narrow.backbone.dtype_policy.weights
    kernels = kernels_of(narrow.backbone)
    assert len(kernels) == 3 * 4 + 2 * 3  # of attentions and feed-forward blocks
    assert {kernel.dtype for kernel in kernels} == {KERNEL_DTYPE[weights]}
    norms = [w for w in narrow.backbone.weights if w.name in ("gamma", "beta")]
    assert {norm.dtype for norm in norms} == {"float32"}
    assert {w.dtype for w in narrow.vqgan.weights} == {"float32"}


def test_logits_are_near_those_of_float32(task, narrow):
    ids = np.array([[0, 5, 9, 2, 1, 1, 1, 1]])
    inputs = {
        "encoder_token_ids": ids,
        "encoder_padding_mask": (ids != 1).astype("int32"),
        "decoder_token_ids": np.array([[32, 3, 14, 15]]),
    }
    expected, found = (x.backbone(inputs)["logits"] for x in (task, narrow))
    assert found.dtype == "float32"
    difference = np.abs(np.asarray(found) - np.asarray(expected))
    assert 0.0 < difference.max() < 0.1 * np.std(expected)


def test_rows_depend_on_their_inputs_alone(narrow):
    together = tokens_of(narrow)
    assert len(np.unique(together)) > 5
    for order in ([0], [2], [3, 1], [3, 2, 1, 0, 0, 1, 2, 3, 0]):
        some = tokens_of(narrow, [PROMPTS[i] for i in order], [SEEDS[i] for i in order])
        np.testing.assert_array_equal(some, together[order])


def test_cached_steps_give_what_the_whole_sequence_gives(narrow):
    backbone = narrow.backbone
    rng = np.random.default_rng(0)
    tokens_RL = rng.integers(0, 32, (2, 16))
    ids_RS = np.tile([0, 7, 5, 2], (2, 4))
    mask_RS = np.ones((2, 16), "int32")
    whole = backbone(
        {
            "encoder_token_ids": ids_RS,
            "encoder_padding_mask": mask_RS,
            "decoder_token_ids": tokens_RL,
        }
    )["logits"]
    cross = backbone.cross_attention_cache(
        backbone.encode(ids_RS, mask_RS, row_stable=True)
    )
    cache = backbone.empty_self_attention_cache(2)
    steps = []
    for first in range(0, 16, 4):
        positions_RW = np.tile(np.arange(first, first + 4), (2, 1))
        step, cache = backbone.decode_step(
            tf.constant(tokens_RL[:, first : first + 4]),
            tf.constant(positions_RW),
            cache,
            cross,
            mask_RS,
            write=write_in_place,
        )
        steps.append(step)
    # A sum in another order, before it is rounded to so few bits, may end a step away.
    np.testing.assert_allclose(
        np.concatenate(steps, axis=1), whole, atol=0.05 * np.std(whole)
    )


def test_saved_and_loaded_again_it_draws_the_same(narrow, tmp_path):
    weights = narrow.backbone.dtype_policy.weights
    narrow.save_to_preset(str(tmp_path))
    with h5py.File(tmp_path / "model.weights.h5") as file:
        sizes = []
        file.visititems(
            lambda _, item: sizes.append(
                item.nbytes if isinstance(item, h5py.Dataset) else 0
            )
        )
    assert sum(sizes) < 0.75 * sum(
        4 * np.prod(w.shape) for w in tiny_task().backbone.weights
    )
    loaded = DalleBartTextToImage.from_preset(tmp_path)
    assert loaded.backbone.dtype_policy == NarrowWeights(weights)
    np.testing.assert_array_equal(tokens_of(loaded), tokens_of(narrow))
    wide = DalleBartTextToImage.from_preset(tmp_path, weights="float32")
    assert {w.dtype for w in wide.backbone.weights} == {"float32"}


def test_narrowed_in_memory_it_draws_as_loaded(task, narrow):
    narrowed = with_weights(task, narrow.backbone.dtype_policy.weights)
    np.testing.assert_array_equal(tokens_of(narrowed), tokens_of(narrow))


def test_originals_load_without_float32(task, narrow, tmp_path):
    save_dalle_bart(task.backbone, tmp_path)
    loaded = load_dalle_bart(tmp_path, dtype=narrow.backbone.dtype_policy)
    assert type(loaded) is DalleBartBackbone
    for weight, expected in zip(loaded.weights, narrow.backbone.weights, strict=True):
        np.testing.assert_array_equal(weight, expected, err_msg=weight.path)
    save_dalle_bart(narrow.backbone, tmp_path)
    again = load_dalle_bart(tmp_path, dtype=narrow.backbone.dtype_policy)
    for weight, expected in zip(again.weights, narrow.backbone.weights, strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-6, err_msg=weight.path)


def test_the_saved_model_holds_narrow_weights_and_draws_the_same(
    task, narrow, tmp_path
):
    weights = narrow.backbone.dtype_policy.weights
    path = tmp_path / "1"
    if weights == "int8":
        assert export_saved_model(task, tmp_path, weights=weights) == path
    else:  # what a user of Keras calls
        narrow.export(path)
    variables = tf.train.list_variables(str(path / "variables" / "variables"))
    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    dtypes = [reader.get_variable_to_dtype_map()[name] for name, _ in variables]
    kernels = dtypes.count(tf.as_dtype(KERNEL_DTYPE[weights]))
    assert kernels >= len(kernels_of(narrow.backbone))
    served = tf.saved_model.load(str(path)).signatures["serving_default"]
    pngs = served(
        prompt=tf.constant(PROMPTS),
        negative_prompt=tf.constant([""] * 4),
        seed=tf.constant(SEEDS, tf.int64),
        guidance_scale=tf.fill([4], 10.0),
        guidance_scale_end=tf.fill([4], -1.0),
        temperature=tf.fill([4], 1.0),
        top_k=tf.fill([4], 50),
        top_p=tf.fill([4], 1.0),
    )["image_bytes"]
    expected = narrow.generate(PROMPTS, seed=SEEDS)
    for png, image in zip(pngs.numpy(), expected, strict=True):
        np.testing.assert_array_equal(tf.io.decode_png(png), image)


def test_weights_and_dtype_together_are_refused(preset):
    with pytest.raises(ValueError, match="Either `weights` or `dtype`"):
        DalleBartTextToImage.from_preset(preset, weights="int8", dtype="float32")


def test_kernels_are_not_trained(narrow):
    assert not any(kernel.trainable for kernel in kernels_of(narrow.backbone))
