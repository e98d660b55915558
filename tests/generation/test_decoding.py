"""Generation of image tokens: rows alone or together, in a graph, in a SavedModel."""

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.generation.cache import write_in_place
from keras_dalle.generation.conditioning import Prompts
from keras_dalle.generation.decoding import Known, generate_image_tokens
from tests.generation.small_backbone import small_backbone

CODES = 30
ROWS = 5
RNG = np.random.default_rng(0)
MASK = (np.arange(16) < np.array([[2], [5], [9], [16], [3]])).astype("int32")
NEGATIVE_MASK = np.tile(np.arange(16) < 2, (ROWS, 1)).astype("int32")
PROMPTS = {
    "token_ids": np.where(MASK, RNG.integers(3, 50, (ROWS, 16)), 1).astype("int32"),
    "padding_mask": MASK,
    "negative_token_ids": np.tile([0, 2] + [1] * 14, (ROWS, 1)).astype("int32"),
    "negative_padding_mask": NEGATIVE_MASK,
}
PARAMETERS = {
    "seed": np.array([7, -7, 2**62, 0, 7]),
    "guidance_scale": np.array([10, 1, 3, 0, 10], "float32"),
    "guidance_scale_end": np.array([-1, 5, -1, 0, -1], "float32"),
    "temperature": np.array([1, 0.7, 1.2, 1, 1], "float32"),
    "top_k": np.array([0, 10, 1, 25, 50], "int32"),
    "top_p": np.array([1, 0.9, 1, 0.5, 1], "float32"),
}


ARGUMENTS = {**PROMPTS, **PARAMETERS}


def _generator(backbone, **options):
    specs = {
        name: tf.TensorSpec([None, *x.shape[1:]], x.dtype)
        for name, x in ARGUMENTS.items()
    }

    @tf.function(input_signature=[specs])
    def generate(arguments):
        prompts = Prompts.of_one_each(*(arguments[name] for name in PROMPTS))
        parameters = {name: arguments[name] for name in PARAMETERS}
        return generate_image_tokens(
            backbone, prompts, parameters, codebook_size=CODES, **options
        )

    return generate


@pytest.fixture(scope="module")
def backbone():
    return small_backbone(CODES + 3)


@pytest.fixture(scope="module")
def generate(backbone):
    generator = _generator(backbone)

    def rows(order):
        order = np.array(order, int)
        return generator({n: tf.constant(x[order]) for n, x in ARGUMENTS.items()})

    return rows


@pytest.fixture(scope="module")
def together(generate):
    return generate(list(range(ROWS))).numpy()


def test_tokens_are_image_codes(together):
    assert together.shape == (ROWS, 16)
    assert together.dtype == np.int32
    assert together.min() >= 0 and together.max() < CODES
    assert len(np.unique(together)) > 10


def test_same_inputs_give_the_same_tokens(generate, together):
    np.testing.assert_array_equal(generate(list(range(ROWS))), together)


@pytest.mark.parametrize(
    "order", [[0], [1], [2], [3], [4], [3, 1], [4, 3, 2, 1, 0], [2] * 9 + [0]]
)
def test_rows_depend_on_their_inputs_alone(generate, together, order):
    np.testing.assert_array_equal(generate(order), together[order])


def test_logits_are_the_same_bits_in_any_batch(backbone):
    # The strict form of the test above, which a lucky draw could pass.
    def first_logits(order):
        token_ids, mask = (
            tf.constant(ARGUMENTS[name][order])
            for name in ("token_ids", "padding_mask")
        )
        encoded = backbone.encode(token_ids, mask, row_stable=True)
        logits, _ = backbone.decode_step(
            tf.fill([len(order), 1], 3),
            tf.zeros([len(order), 1], tf.int32),
            backbone.empty_self_attention_cache(len(order)),
            backbone.cross_attention_cache(encoded),
            mask,
            write=write_in_place,
        )
        return logits.numpy()

    expected = first_logits([0, 1, 2, 3, 4])
    for order in ([0, 1], [4, 2, 3], [1] * 33):
        np.testing.assert_array_equal(first_logits(order), expected[order])


def test_no_rows(generate):
    assert generate([]).shape == (0, 16)


def likeliest_without_cache(backbone, tokens):
    """Row 2, which is greedy (top_k = 1) at guidance 3, behind these tokens."""
    decoder_ids = np.concatenate([[backbone.decoder_start_token_id], tokens[:-1]])

    def logits(prefix):
        return backbone(
            {
                "encoder_token_ids": ARGUMENTS[f"{prefix}token_ids"][2:3],
                "encoder_padding_mask": ARGUMENTS[f"{prefix}padding_mask"][2:3],
                "decoder_token_ids": decoder_ids[None],
            }
        )["logits"].numpy()[0, :, :CODES]

    guided = logits("negative_") + 3 * (logits("") - logits("negative_"))
    return guided.argmax(axis=1)


def test_matches_a_loop_without_cache(backbone, together):
    tokens = likeliest_without_cache(backbone, together[2])
    np.testing.assert_array_equal(together[2], tokens)


def test_cache_grows_with_the_picture():
    """Of 144 tokens, for which it must grow twice."""
    backbone = small_backbone(CODES + 3, image_length=144)
    generate = _generator(backbone)
    drawn = generate({name: tf.constant(x) for name, x in ARGUMENTS.items()})[2]
    assert drawn.shape == (144,) and len(np.unique(drawn)) > 3
    np.testing.assert_array_equal(drawn, likeliest_without_cache(backbone, drawn))


def test_saved_model(backbone, together, tmp_path):
    module = tf.Module()
    module.variables_of_backbone = [variable.value for variable in backbone.variables]
    module.generate = _generator(backbone)
    tf.saved_model.save(module, tmp_path)
    loaded = tf.saved_model.load(tmp_path)
    arguments = {name: tf.constant(x) for name, x in ARGUMENTS.items()}
    for _ in range(2):  # The cache of one call must not leak into the next.
        np.testing.assert_array_equal(loaded.generate(arguments), together)
    ops = {
        node.op
        for function in loaded.generate.concrete_functions
        for graph in [function.graph.as_graph_def()]
        for node in [
            *graph.node,
            *(n for f in graph.library.function for n in f.node_def),
        ]
    }
    assert not {op for op in ops if "Xla" in op or "PyFunc" in op}


def test_mixed_bfloat16():
    generate = _generator(small_backbone(CODES + 3, dtype="mixed_bfloat16"))
    tokens = generate({name: tf.constant(x) for name, x in ARGUMENTS.items()})
    assert tokens.numpy().max() < CODES


@pytest.mark.parametrize("window", [1, 2, 5, 16])
def test_guesses_change_no_token(backbone, together, window):
    generate = _generator(backbone, window=window)
    tokens = generate({name: tf.constant(x) for name, x in ARGUMENTS.items()})
    np.testing.assert_array_equal(tokens, together)


@pytest.mark.parametrize("window", [None, 1])
def test_known_tokens_stay_and_lead_what_follows(backbone, together, window):
    rng = np.random.default_rng(1)
    mask = rng.random((ROWS, 16)) < np.array([[0], [0.3], [0.6], [1], [0.5]])
    mask[4] = np.arange(16) < 9
    # Row 1 is given its own tokens, the others foreign ones.
    given = np.where(np.arange(ROWS)[:, None] == 1, together, (together + 7) % CODES)
    known = Known(tf.constant(given, tf.int32), tf.constant(mask))
    generate = _generator(backbone, known=known, window=window)
    tokens = generate({n: tf.constant(x) for n, x in ARGUMENTS.items()}).numpy()
    np.testing.assert_array_equal(tokens[mask], given[mask])
    np.testing.assert_array_equal(tokens[:2], together[:2])
    assert (tokens[4, 9:] != together[4, 9:]).any()


def test_write_in_place():
    new = np.arange(24.0, dtype="float32").reshape(2, 2, 3, 2)
    positions = tf.constant([[3, 4], [0, 1]])
    written = write_in_place(tf.zeros((2, 3, 5, 2)), tf.constant(new), positions)
    expected = np.zeros((2, 3, 5, 2))
    expected[0, :, 3:] = new[0].swapaxes(0, 1)
    expected[1, :, :2] = new[1].swapaxes(0, 1)
    np.testing.assert_array_equal(written, expected)
