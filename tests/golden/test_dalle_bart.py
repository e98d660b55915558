"""`DalleBartBackbone` against the original DALL·E mini on every golden case.

Nothing here is keyed to a case's name: a case is its config.json and what its io.npz
holds. Where the original could not run something (its cache with relative positions),
our own uncached numbers are the reference.
"""

import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.converters.dalle_bart import (
    WEIGHTS_FILE,
    dalle_bart_table,
    load_dalle_bart,
    save_dalle_bart,
    unstack_layers,
)
from keras_dalle.converters.flax import open_flax_msgpack
from keras_dalle.converters.mapping import tensor_names
from keras_dalle.generation.cache import write_in_place
from keras_dalle.generation.conditioning import Prompts
from keras_dalle.generation.decoding import generate_image_tokens
from keras_dalle.generation.end_token import EndToken
from keras_dalle.utils.files import read_json
from tests.golden.golden_data import (
    assert_as_exact_as,
    cases,
    check_found,
    load_npz,
    neighbouring_weights,
)

ALL_CASES = cases("dallebart")
CASES = [case for case in ALL_CASES if (case / "io.npz").is_file()]
GENERATION_INPUTS = (
    "input_ids",
    "attention_mask",
    "input_ids_uncond",
    "attention_mask_uncond",
)


class Case:
    """A golden case, and our model of it in float32 and float64."""

    def __init__(self, folder):
        self.folder = folder
        self.golden = load_npz(folder / "io.npz")
        self.float32 = load_dalle_bart(folder)
        self.float64 = load_dalle_bart(folder, dtype="float64")

    def inputs(self):
        return {
            "encoder_token_ids": self.golden["input_ids"],
            "encoder_padding_mask": self.golden["attention_mask"],
            "decoder_token_ids": self.golden["decoder_input_ids"],
        }

    def check(self, compute, expected, name):
        """`compute(model)` in float32 against the golden `expected`."""
        ours = compute(self.float32), compute(self.float64)
        assert_as_exact_as(*ours, expected, name)


@pytest.fixture(scope="module", params=CASES, ids=lambda folder: folder.name)
def case(request):
    return Case(request.param)


def test_there_are_cases():
    check_found(CASES)


@pytest.mark.parametrize(
    "folder", [x for x in ALL_CASES if x not in CASES], ids=lambda folder: folder.name
)
def test_case_in_another_layout(folder):
    """A case without outputs holds the weights of one that has them."""
    tensors = unstack_layers(open_flax_msgpack(folder / WEIGHTS_FILE))
    (twin,) = [other for other in CASES if _are_equal(tensors, other)]
    expected = load_npz(twin / "io.npz")
    inputs = {
        "encoder_token_ids": expected["input_ids"],
        "encoder_padding_mask": expected["attention_mask"],
        "decoder_token_ids": expected["decoder_input_ids"],
    }
    ours = [load_dalle_bart(folder, dtype=d)(inputs) for d in ("float32", "float64")]
    assert_as_exact_as(*(x["logits"] for x in ours), expected["logits"], "logits")


def _are_equal(tensors, folder):
    others = unstack_layers(open_flax_msgpack(folder / WEIGHTS_FILE))
    return set(tensors) == set(others) and all(
        np.array_equal(tensor.read(), others[name].read())
        for name, tensor in tensors.items()
    )


@pytest.mark.parametrize("folder", ALL_CASES, ids=lambda folder: folder.name)
def test_written_again_it_is_the_same_file(folder, tmp_path):
    backbone = load_dalle_bart(folder)
    config = read_json(folder / "config.json")
    save_dalle_bart(backbone, tmp_path, original_config=config)
    name = "flax_model.msgpack"
    assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    assert read_json(tmp_path / "config.json") == config
    # Without the configuration it came with, the network and so the file are the same.
    # Only how a last norm without any scale was stored is not to be seen in RMSNorm.
    again = tmp_path / "again"
    again.mkdir()
    save_dalle_bart(backbone, again)
    reloaded = load_dalle_bart(again)
    for ours, theirs in zip(reloaded.weights, backbone.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)
    assert reloaded.variant == backbone.variant


def test_encoder_states(case):
    golden = case.golden
    for suffix in ("", "_uncond"):
        inputs = golden[f"input_ids{suffix}"], golden[f"attention_mask{suffix}"]
        for row_stable in (False, True):
            case.check(
                lambda model, inputs=inputs, stable=row_stable: model.encode(
                    *inputs, row_stable=stable
                ),
                golden[f"encoder_last_hidden_state{suffix}"],
                f"encoder states{suffix}",
            )


def test_logits(case):
    outputs = [model(case.inputs()) for model in (case.float32, case.float64)]
    names = {
        "logits": "logits",
        "encoder_sequence_output": "encoder_last_hidden_state",
    }
    for ours, theirs in names.items():
        assert_as_exact_as(*(x[ours] for x in outputs), case.golden[theirs], ours)


def test_cached_logits(case):
    golden = case.golden
    expected = golden.get("logits_cached", golden["logits"])
    ours32 = _cached_logits(case.float32, golden)
    ours64 = case.float64(case.inputs())["logits"]
    assert_as_exact_as(ours32, ours64, expected, "cached logits")


def _cached_logits(model, golden):
    mask = golden["attention_mask"]
    encoded = model.encode(golden["input_ids"], mask, row_stable=True)
    cross_cache = model.cross_attention_cache(encoded)
    cache = model.empty_self_attention_cache(len(mask))

    @tf.function
    def step(token_ids, position, cache):
        positions = tf.fill(tf.shape(token_ids), position)
        return model.decode_step(
            token_ids, positions, cache, cross_cache, mask, write=write_in_place
        )

    logits_TBV = []
    for position, token_ids in enumerate(golden["decoder_input_ids"].T):
        logits, cache = step(token_ids[:, None], tf.constant(position), cache)
        logits_TBV.append(logits[:, 0])
    return np.stack(logits_TBV, axis=1)


def test_mixed_precision_logits(case):
    # Half precision differs between implementations as much as it does from float32,
    # so our error is held to the original's own.
    golden = case.golden
    for dtype in ("bfloat16", "float16"):
        if f"logits_{dtype}" in golden:
            backbone = load_dalle_bart(case.folder, dtype=f"mixed_{dtype}")
            logits = np.asarray(backbone(case.inputs())["logits"], "float32")
            error = np.abs(logits - golden["logits"])
            original_error = np.abs(golden[f"logits_{dtype}"] - golden["logits"])
            assert np.mean(error) <= 1.5 * np.mean(original_error)


# === Gradients ===


def _loss_and_gradients(model, case, rows=slice(None)):
    """The loss, and the gradients by the names of unstacked layers."""
    inputs = {name: x[rows] for name, x in case.inputs().items()}
    with tf.GradientTape() as tape:
        logits = model(inputs)["logits"]
        loss = tf.reduce_mean(
            keras.losses.sparse_categorical_crossentropy(
                case.golden["labels"][rows], logits, from_logits=True
            )
        )
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    names = tensor_names([v.path for v in variables], dalle_bart_table(model))
    named = {}
    for variable, gradient in zip(variables, gradients, strict=True):
        name, rule = names[variable.path]
        array = np.asarray(tf.convert_to_tensor(gradient), "float64")
        named[name] = rule.transform.save(array)
    return loss.numpy(), named


def _row_by_row(model, case):
    """The same gradients as the mean over the rows, for another float32 rounding."""
    count = len(case.golden["labels"])
    rows = [_loss_and_gradients(model, case, slice(i, i + 1))[1] for i in range(count)]
    return {name: sum(row[name] for row in rows) / count for name in rows[0]}


def _with_neighbouring_weights(case, seed):
    """The same gradients where weights are off by half a unit of their last place.

    In deep variants (swinv2_7layers) a CPU with AVX-512 happened to round so well that
    four times its error was less than the original's.
    """
    with neighbouring_weights(case.float32, seed):
        return _loss_and_gradients(case.float32, case)[1]


def test_loss_and_gradients(case):
    golden = case.golden
    loss32, ours32 = _loss_and_gradients(case.float32, case)
    loss64, ours64 = _loss_and_gradients(case.float64, case)
    assert_as_exact_as(loss32, loss64, golden["loss"], "loss")
    more32 = [
        _row_by_row(case.float32, case),
        *(_with_neighbouring_weights(case, seed) for seed in range(2)),
    ]
    _check_full_gradients(ours32, ours64, more32, golden)
    _check_gradient_norms(ours32, ours64, more32, golden)


def _check_full_gradients(ours32, ours64, more32, golden):
    """All entries of each leaf, relative to its largest one."""
    full = {
        name.removeprefix("grad/"): array
        for name, array in golden.items()
        if name.startswith("grad/")
    }
    for name, leaf in unstack_layers(full).items():
        expected = leaf.read()
        assert_as_exact_as(
            ours32[name],
            ours64[name],
            expected,
            name,
            scale=max(np.max(np.abs(expected)), np.finfo("float32").tiny),
            more32=[x[name] for x in more32],
        )


def _check_gradient_norms(ours32, ours64, more32, golden):
    """The golden norm of a stacked leaf is over all of its layers.

    Relative to the norm, or to a thousandth of all gradients' norm where that is more:
    a key's bias has a true gradient of 0.
    """
    groups = []
    for name in json.loads(str(golden["gradnorm_names"])):
        prefix, stacked, part = name.partition("Layers/")
        pattern = re.escape(prefix) + (r"Layer_\d+/" if stacked else "")
        whole = re.compile(pattern + re.escape(part))
        groups.append([leaf for leaf in ours32 if whole.fullmatch(leaf)])
    assert {leaf for group in groups for leaf in group} == set(ours32)
    groups.append(list(ours32))
    expected = np.append(golden["gradnorm_values"], golden["grad_global_norm"])
    scale = np.maximum(expected, 1e-3 * golden["grad_global_norm"])
    ours32, ours64, *more32 = (
        np.array([_norm(x[leaf] for leaf in group) for group in groups]) / scale
        for x in (ours32, ours64, *more32)
    )
    assert_as_exact_as(
        ours32, ours64, expected / scale, "gradient norms", more32=more32
    )


def _norm(arrays):
    return np.sqrt(sum(np.sum(np.square(array)) for array in arrays))


# === Generation ===


def _generator(backbone, golden, end_token):
    """`guidance_scale -> tokens`, greedy over all V + 1 logits as the original's."""
    rows = len(golden["input_ids"])

    @tf.function
    def generate(guidance_scale):
        return generate_image_tokens(
            backbone,
            Prompts.of_one_each(*(golden[name] for name in GENERATION_INPUTS)),
            {
                "seed": tf.range(rows, dtype=tf.int64),
                "guidance_scale": tf.fill([rows], guidance_scale),
                "guidance_scale_end": -tf.ones(rows),
                "temperature": tf.ones(rows),
                "top_k": tf.ones(rows, tf.int32),
                "top_p": tf.ones(rows),
            },
            codebook_size=backbone.image_vocabulary_size + 1,
            end_token=end_token,
        )

    return generate


def test_greedy_tokens(case):
    config = read_json(case.folder / "config.json")
    end = config["eos_token_id"], config["pad_token_id"]
    end_tokens = {
        None: EndToken(*end),
        "_minlen": EndToken(*end, min_length=case.float32.image_length + 1),
    }
    generators = {
        kind: _generator(case.float32, case.golden, end_token)
        for kind, end_token in end_tokens.items()
    }
    found = 0
    for name, expected in case.golden.items():
        match = re.fullmatch(r"greedy_sequences_cond([\d.]+)(_minlen)?", name)
        if not match:
            continue
        found += 1
        assert (expected[:, 0] == case.float32.decoder_start_token_id).all()
        tokens = generators[match[2]](tf.constant(float(match[1])))
        np.testing.assert_array_equal(tokens, expected[:, 1:], err_msg=name)
    # The original cannot generate with relative positions.
    assert found or case.float32.variant.relative_position_bias


def test_logits_along_the_greedy_path(case):
    """What the original's processors see: guidance of the logits on its own tokens."""
    golden = case.golden
    for name, expected in golden.items():
        match = re.fullmatch(r"greedy_logits_cond([\d.]+)", name)
        if match:
            sequences = golden[f"greedy_sequences_cond{match[1]}"]
            scale = float(match[1])
            case.check(
                lambda model, sequences=sequences, scale=scale: _guided_logits(
                    model, golden, sequences[:, :-1], scale
                ),
                expected,
                name,
            )


def _guided_logits(model, golden, decoder_token_ids, scale):
    conditional, unconditional = (
        model(
            {
                "encoder_token_ids": golden[f"input_ids{suffix}"],
                "encoder_padding_mask": golden[f"attention_mask{suffix}"],
                "decoder_token_ids": decoder_token_ids,
            }
        )["logits"].numpy()
        for suffix in ("", "_uncond")
    )
    return unconditional + scale * (conditional - unconditional)
