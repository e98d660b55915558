"""`score`: the probability of pictures, against the full forward pass."""

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.generation.scoring import token_log_likelihoods
from keras_dalle.models import DalleBartTextToImage
from tests.generation.small_backbone import small_backbone
from tests.tiny_preset import tiny_task

PROMPTS = ["a red heart", "the sun", "", "a dog that sits", "x" * 200]
CODES = 30
TOKENS = np.random.default_rng(0).integers(0, CODES, (5, 16)).astype("int32")
MASK = (np.arange(16) < np.array([[2], [5], [9], [16], [3]])).astype("int32")
TEXT = np.random.default_rng(1).integers(3, 50, (5, 16)).astype("int32")


@pytest.fixture(scope="module")
def backbone():
    return small_backbone(CODES + 3, num_heads=2)


@pytest.fixture(scope="module")
def log_likelihoods(backbone):
    @tf.function(input_signature=[tf.TensorSpec([None, 16], tf.int32)] * 3)
    def function(text, mask, tokens):
        return token_log_likelihoods(backbone, text, mask, tokens, codebook_size=CODES)

    return lambda *inputs: function(*inputs).numpy()


@pytest.fixture(scope="module")
def task():
    return tiny_task()


@pytest.fixture(scope="module")
def drawn(task):
    return task.generate(PROMPTS, seed=0, return_tokens=True)


# === Against the backbone ===


def test_is_the_log_softmax_of_the_full_forward_pass(backbone, log_likelihoods):
    start = np.full((5, 1), backbone.decoder_start_token_id, "int32")
    logits = backbone(
        {
            "encoder_token_ids": TEXT,
            "encoder_padding_mask": MASK,
            "decoder_token_ids": np.concatenate([start, TOKENS[:, :-1]], axis=1),
        }
    )["logits"]
    assert logits.shape[-1] == CODES + 4
    all_log = tf.nn.log_softmax(logits[..., :CODES]).numpy()
    expected = np.take_along_axis(all_log, TOKENS[..., None], axis=-1)[..., 0]
    actual = log_likelihoods(TEXT, MASK, TOKENS)
    np.testing.assert_allclose(actual, expected, atol=1e-5, rtol=1e-5)


def test_probabilities_of_all_codes_add_up_to_one(log_likelihoods):
    # Each code once as the last token, after the same others.
    tokens = np.repeat(TOKENS[:1], CODES, axis=0)
    tokens[:, -1] = np.arange(CODES)
    last = log_likelihoods(*(np.repeat(x[:1], CODES, 0) for x in (TEXT, MASK)), tokens)
    assert np.exp(last[:, -1]).sum() == pytest.approx(1.0, abs=1e-5)


def test_padding_counts_for_nothing(log_likelihoods):
    others = np.where(MASK, TEXT, 49 - TEXT % 40)
    np.testing.assert_array_equal(
        log_likelihoods(others, MASK, TOKENS), log_likelihoods(TEXT, MASK, TOKENS)
    )
    changed = log_likelihoods(np.where(MASK, 49, TEXT), MASK, TOKENS)
    assert not np.allclose(changed, log_likelihoods(TEXT, MASK, TOKENS))


def test_a_token_is_given_those_before_it_alone(log_likelihoods):
    changed = TOKENS.copy()
    changed[:, 9] = (changed[:, 9] + 1) % CODES
    before, after = (log_likelihoods(TEXT, MASK, x) for x in (TOKENS, changed))
    np.testing.assert_allclose(after[:, :9], before[:, :9], atol=1e-6)
    assert np.all(np.abs(after[:, 9:11] - before[:, 9:11]) > 1e-6)


@pytest.mark.parametrize("order", [[0], [3, 1], [4, 3, 2, 1, 0], [2] * 33])
def test_same_bits_in_any_batch(log_likelihoods, order):
    together = log_likelihoods(TEXT, MASK, TOKENS)
    rows = [x[order] for x in (TEXT, MASK, TOKENS)]
    np.testing.assert_array_equal(log_likelihoods(*rows), together[order])


def test_mixed_bfloat16(log_likelihoods):
    scores = token_log_likelihoods(
        small_backbone(CODES + 3, num_heads=2, dtype="mixed_bfloat16"),
        TEXT,
        MASK,
        TOKENS,
        codebook_size=CODES,
    )
    assert scores.dtype == tf.float32
    exact = log_likelihoods(TEXT, MASK, TOKENS)
    np.testing.assert_allclose(scores.numpy().sum(1), exact.sum(1), rtol=0.05)


# === The task ===


def test_score_is_what_training_minimizes(task, drawn):
    # `evaluate` has one vocabulary row more, for the start token.
    tokens = drawn["image_tokens"]
    logits = task.predict({"captions": PROMPTS, "image_tokens": tokens}, verbose=0)
    all_log = tf.nn.log_softmax(logits[..., : task.vqgan.codebook_size]).numpy()
    per_token = np.take_along_axis(all_log, tokens[..., None], axis=-1)[..., 0]
    inputs = {"prompts": PROMPTS, "image_tokens": tokens}
    scores = task.score(inputs)
    assert scores.shape == (5,) and scores.dtype == np.float32
    np.testing.assert_allclose(scores, per_token.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(
        task.score(inputs, per_token=True), per_token, atol=1e-5, rtol=1e-5
    )


def test_pictures_are_scored_by_their_tokens(task, drawn):
    tokens = task.vqgan.encode_images(drawn["images"])
    np.testing.assert_array_equal(
        task.score({"prompts": PROMPTS, "images": drawn["images"]}),
        task.score({"prompts": PROMPTS, "image_tokens": tokens}),
    )


def test_pmi_is_what_the_prompt_adds(task, drawn):
    tokens = drawn["image_tokens"]
    given, blank = (
        task.score({"prompts": prompts, "image_tokens": tokens})
        for prompts in (PROMPTS, "")
    )
    inputs = {"prompts": PROMPTS, "image_tokens": tokens}
    pmi = task.score(inputs, scoring_mode="pmi")
    np.testing.assert_allclose(pmi, given - blank, atol=1e-4)
    assert pmi[2] == 0.0, "the blank prompt adds nothing to itself"
    per_token = task.score(inputs, scoring_mode="pmi", per_token=True)
    np.testing.assert_allclose(per_token.sum(axis=1), pmi, atol=1e-4)


def test_one_prompt_for_all_and_many_rows(task, drawn):
    tokens = np.tile(drawn["image_tokens"], (9, 1))
    one = task.score({"prompts": "the sun", "image_tokens": tokens})
    each = task.score({"prompts": ["the sun"] * 45, "image_tokens": tokens})
    alone = task.score({"prompts": ["the sun"], "image_tokens": tokens[41:42]})
    np.testing.assert_array_equal(one, each)
    np.testing.assert_allclose(one[41:42], alone, rtol=1e-5)
    assert task.score({"prompts": [], "image_tokens": tokens[:0]}).shape == (0,)


def test_the_likeliest_tokens_score_higher_than_shuffled(task):
    prompts = [prompt for prompt in PROMPTS if prompt]  # The blank one draws one tone.
    greedy = task.generate(
        prompts, seed=0, top_k=1, guidance_scale=1.0, return_tokens=True
    )["image_tokens"]
    shuffled = np.random.default_rng(0).permuted(greedy, axis=1)
    best, worse = (
        task.score({"prompts": prompts, "image_tokens": tokens})
        for tokens in (greedy, shuffled)
    )
    assert np.all(best > worse)


def test_score_rows_in_a_saved_model(task, drawn, tmp_path):
    module = tf.Module()
    module.task = task
    module.score = tf.function(
        task.score_rows,
        input_signature=[
            tf.TensorSpec([None], tf.string),
            tf.TensorSpec([None, 16], tf.int32),
        ],
    )
    tf.saved_model.save(module, tmp_path)
    loaded = tf.saved_model.load(tmp_path)
    outputs = loaded.score(tf.constant(PROMPTS), tf.constant(drawn["image_tokens"]))
    inputs = {"prompts": PROMPTS, "image_tokens": drawn["image_tokens"]}
    np.testing.assert_array_equal(outputs["log_likelihood"], task.score(inputs))
    assert outputs["per_token"].shape == (5, 16)
    graphs = [f.graph.as_graph_def() for f in loaded.score.concrete_functions]
    ops = {
        node.op
        for graph in graphs
        for nodes in [graph.node, *(f.node_def for f in graph.library.function)]
        for node in nodes
    }
    assert not {op for op in ops if "Xla" in op or "PyFunc" in op}


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("a cat", "must be a dictionary with `prompts` and either .* Received: str"),
        ({"prompts": "x"}, r"Received: \['prompts'\]"),
        (
            {"prompts": "x", "images": np.zeros((9, 8, 3), "uint8")},
            "`images` must be a batch .* Received: one picture",
        ),
        (
            {"prompts": "x", "images": np.full((1, 8, 8, 3), 2.0)},
            "from 0 to 1. Received: 2",
        ),
        (
            {"prompts": ["x", None], "image_tokens": np.zeros((2, 16), int)},
            "`prompts` must be a text, .* None",
        ),
        (
            {"prompts": "x", "image_tokens": [[0] * 16, [0]]},
            r"must be integers \[B, 16\]",
        ),
        (
            {"prompts": "x", "image_tokens": np.zeros((1, 15), int)},
            r"must be integers \[B, 16\]. Received: int64 \(1, 15\)",
        ),
        (
            {"prompts": "x", "image_tokens": np.zeros((1, 16))},
            "Received: float64",
        ),
        (
            {"prompts": "x", "image_tokens": np.full((1, 16), 32)},
            r"must be in \[0, 32\). Received: 32 to 32",
        ),
        (
            {"prompts": ["x", "y"], "image_tokens": np.zeros((3, 16), int)},
            r"one a picture \(=3\). Received: 2 prompts",
        ),
    ],
)
def test_unusable_inputs(task, inputs, message):
    with pytest.raises(ValueError, match=message):
        task.score(inputs)


def test_unknown_scoring_mode(task, drawn):
    inputs = {"prompts": PROMPTS, "image_tokens": drawn["image_tokens"]}
    with pytest.raises(ValueError, match="log_likelihood, pmi. Received: 'loss'"):
        task.score(inputs, scoring_mode="loss")


def test_scoring_needs_a_vqgan(task):
    blind = DalleBartTextToImage(task.backbone, task.preprocessor)
    with pytest.raises(ValueError, match="Scoring needs a VQGAN"):
        blind.score({"prompts": "x", "image_tokens": TOKENS})


# === Prompts of several parts ===


def test_parts_of_a_prompt_count_as_guidance_of_scale_1_combines_them(task, drawn):
    tokens_1T = drawn["image_tokens"][:1]
    start = np.full((1, 1), task.backbone.decoder_start_token_id)
    seen = tf.constant(np.hstack([start, tokens_1T[:, :-1]]), tf.int32)

    def logits(prompt):
        text = task.preprocessor.generate_preprocess(tf.constant([prompt]))
        outputs = task.backbone({**text, "decoder_token_ids": seen})
        return outputs["logits"][0, :, : task.vqgan.codebook_size]

    blank = logits("")
    mixed = blank + 1.5 * (logits("a cat") - blank) - 0.75 * (logits("sun") - blank)
    all_log = tf.nn.log_softmax(mixed).numpy()
    expected = np.take_along_axis(all_log, tokens_1T.T, axis=1)[:, 0]
    inputs = {"prompts": "a cat:1.5 AND sun:-0.75", "image_tokens": tokens_1T}
    actual = task.score(inputs, per_token=True)[0]
    np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_a_score_does_not_depend_on_its_neighbours_parts(task, drawn):
    tokens = drawn["image_tokens"][:3]
    prompts = ["a cat", "sun AND moon AND a dog:0.5", "x:0.5 AND x:0.5"]
    together = task.score({"prompts": prompts, "image_tokens": tokens})
    for row, prompt in enumerate(prompts):
        alone = task.score({"prompts": prompt, "image_tokens": tokens[row : row + 1]})
        np.testing.assert_array_equal(alone[0], together[row])
    halves = task.score({"prompts": "x", "image_tokens": tokens[2:]})
    np.testing.assert_allclose(together[2:], halves, rtol=1e-5)


def test_a_malformed_weight_is_named(task, drawn):
    inputs = {"prompts": "a:1,5 AND b", "image_tokens": drawn["image_tokens"]}
    with pytest.raises(ValueError, match="Received: `:1,5`"):
        task.score(inputs)


def test_pictures_of_any_size_are_scored(task):
    wide = np.random.default_rng(1).integers(0, 256, (2, 12, 20, 4)).astype("uint8")
    tokens = task.encode_images(wide)
    np.testing.assert_array_equal(
        task.score({"prompts": "x", "images": list(wide)}),
        task.score({"prompts": "x", "image_tokens": tokens}),
    )
    with pytest.raises(ValueError, match="`scoring_mode` must be one of .* .'pmi'."):
        task.score({"prompts": "x", "image_tokens": tokens}, scoring_mode=["pmi"])
