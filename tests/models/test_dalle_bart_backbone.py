"""`DalleBartBackbone`: interface, serialization, precision, cached decoding."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.generation.cache import write_in_place
from keras_dalle.layers.attention import write_everywhere
from keras_dalle.models.dalle_bart.dalle_bart_backbone import DalleBartBackbone

CONFIG = {
    "vocabulary_size": 50,
    "image_vocabulary_size": 20,
    "num_encoder_layers": 1,
    "num_decoder_layers": 2,
    "num_heads": 2,
    "hidden_dim": 16,
    "encoder_intermediate_dim": 24,
    "decoder_intermediate_dim": 32,
    "max_text_length": 8,
    "image_length": 6,
    "init_std": 0.4,
}
RNG = np.random.default_rng(0)
INPUTS = {
    "encoder_token_ids": RNG.integers(3, 50, (3, 8)),
    "encoder_padding_mask": np.array(
        [[1, 1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0, 0, 0]]
    ),
    "decoder_token_ids": RNG.integers(0, 21, (3, 6)),
}


@pytest.fixture(scope="module")
def backbone():
    keras.utils.set_random_seed(0)
    return DalleBartBackbone(**CONFIG)


def test_output_shapes(backbone):
    outputs = backbone(INPUTS)
    assert {name: tuple(x.shape) for name, x in outputs.items()} == {
        "encoder_sequence_output": (3, 8, 16),
        "decoder_sequence_output": (3, 6, 16),
        "logits": (3, 6, 21),
    }


def _count(vocabulary, image_vocabulary, layers, width, inner, lengths):
    """The number of parameters, from the released models' description."""
    attention = 4 * width**2 + 3 * width
    feed_forward = [3 * width * size + width + size for size in inner]
    encoder = layers[0] * (attention + feed_forward[0])
    decoder = layers[1] * (2 * attention + feed_forward[1])
    embeddings = (vocabulary + image_vocabulary + 1 + sum(lengths)) * width
    norms = 2 * 3 * width
    head = (image_vocabulary + 1) * width
    return embeddings + norms + encoder + decoder + head


def test_number_of_parameters(backbone):
    expected = _count(50, 20, (1, 2), 16, (24, 32), (8, 6))
    assert backbone.count_params() == expected
    # The same count gives the published sizes of DALL·E mini and Mega.
    mini = _count(50264, 16384, (12, 12), 1024, (2730, 2730), (64, 256))
    mega = _count(50272, 16415, (24, 24), 2048, (4096, 4096), (64, 256))
    assert round(mini / 1e6, 1) == 437.8
    assert mega // 10**6 == 2587


def test_start_token_defaults_to_the_extra_row(backbone):
    assert backbone.decoder_start_token_id == 20
    other = DalleBartBackbone(**CONFIG, decoder_start_token_id=17)
    assert other.decoder_start_token_id == 17


def test_config_round_trip(backbone):
    again = DalleBartBackbone.from_config(backbone.get_config())
    assert again.get_config() == backbone.get_config()
    assert CONFIG.items() <= again.get_config().items()
    paths = [weight.path for weight in backbone.weights]
    assert [weight.path for weight in again.weights] == paths


def test_saved_model_file_round_trip(backbone, tmp_path):
    path = tmp_path / "backbone.keras"
    backbone.save(path)
    again = keras.saving.load_model(path)
    assert isinstance(again, DalleBartBackbone)
    np.testing.assert_array_equal(again(INPUTS)["logits"], backbone(INPUTS)["logits"])


def test_compiled_predict(backbone):
    predicted = backbone.predict(INPUTS, verbose=0)["logits"]
    np.testing.assert_allclose(predicted, backbone(INPUTS)["logits"], atol=1e-5)


def test_one_training_step():
    backbone = DalleBartBackbone(**CONFIG, dropout=0.1)
    model = keras.Model(backbone.inputs, backbone.outputs[2])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, jit_compile=False)
    before = [weight.numpy() for weight in backbone.trainable_weights]
    model.fit(INPUTS, RNG.integers(0, 20, (3, 6)), verbose=0)
    for old, weight in zip(before, backbone.trainable_weights, strict=True):
        assert np.abs(old - weight.numpy()).max() > 0, weight.path


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "bfloat16"])
def test_low_precision(backbone, dtype):
    low = DalleBartBackbone(**CONFIG, dtype=dtype)
    low.set_weights(backbone.get_weights())
    logits = low(INPUTS)["logits"]
    assert logits.dtype == tf.bfloat16
    assert low.image_head.kernel.dtype == (
        "bfloat16" if dtype == "bfloat16" else "float32"
    )
    error = np.abs(np.asarray(logits, "float32") - backbone(INPUTS)["logits"].numpy())
    assert error.max() < 0.5
    assert DalleBartBackbone.from_config(low.get_config()).compute_dtype == "bfloat16"


def test_lora(backbone):
    lora = DalleBartBackbone.from_config(backbone.get_config())
    lora.set_weights(backbone.get_weights())
    lora.enable_lora(2)
    trainable = [weight.path for weight in lora.trainable_weights]
    assert trainable and all("lora" in path for path in trainable)
    np.testing.assert_allclose(
        lora(INPUTS)["logits"], backbone(INPUTS)["logits"], atol=1e-5
    )


def _steps(backbone, inputs, write, step_length=1):
    mask = inputs["encoder_padding_mask"]
    encoded = backbone.encode(inputs["encoder_token_ids"], mask, row_stable=True)
    cross_cache = backbone.cross_attention_cache(encoded)
    cache = backbone.empty_self_attention_cache(len(mask))
    logits = []
    token_ids = inputs["decoder_token_ids"]
    positions = np.broadcast_to(np.arange(token_ids.shape[1]), token_ids.shape)
    for start in range(0, token_ids.shape[1], step_length):
        step_logits, cache = backbone.decode_step(
            token_ids[:, start : start + step_length],
            positions[:, start : start + step_length],
            cache,
            cross_cache,
            mask,
            write=write,
        )
        logits.append(step_logits.numpy())
    return np.concatenate(logits, axis=1)


@pytest.mark.parametrize(
    ("write", "step_length"), [(write_in_place, 1), (write_everywhere, 3)]
)
def test_cached_equals_uncached(backbone, write, step_length):
    cached = _steps(backbone, INPUTS, write, step_length)
    np.testing.assert_allclose(cached, backbone(INPUTS)["logits"], atol=1e-5)


def test_padding_tokens_have_no_effect(backbone):
    mask = INPUTS["encoder_padding_mask"]
    token_ids = np.where(mask == 1, INPUTS["encoder_token_ids"], 49)
    other = backbone({**INPUTS, "encoder_token_ids": token_ids})
    np.testing.assert_array_equal(other["logits"], backbone(INPUTS)["logits"])


def test_length_of_padding_has_no_effect(backbone):
    row = {name: x[1:2] for name, x in INPUTS.items()}
    short = {name: x[:, :3] for name, x in row.items() if name.startswith("encoder")}
    np.testing.assert_allclose(
        backbone({**row, **short})["logits"], backbone(row)["logits"], atol=1e-5
    )


def test_batch_permutation(backbone):
    order = [2, 0, 1]
    permuted = backbone({name: x[order] for name, x in INPUTS.items()})["logits"]
    expected = backbone(INPUTS)["logits"].numpy()[order]
    np.testing.assert_allclose(permuted, expected, atol=1e-5)


def test_indivisible_width():
    with pytest.raises(ValueError, match=r"`hidden_dim` \(=17\) must be divisible"):
        DalleBartBackbone(**{**CONFIG, "hidden_dim": 17})
