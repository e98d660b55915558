"""Each signature against the model in memory, its faults, and its neighbours."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_dalle.saved_model.signatures.row_function import MAX_ROWS
from keras_dalle.saved_model.signatures.scoring import WORST
from tests.saved_model.signature_calls import row_of
from tests.saved_model.signature_rows import (
    FAULTS,
    GOOD_FILE,
    GOOD_ROWS,
    GRID,
    JPEG,
    LENGTH,
    SIZE,
    file_of,
    noise,
    packed,
    pixels,
    smooth,
)

PROMPTS = [b"red heart", b"woman firefighter", b"", b"red \xff\xfe heart"]
CONTROLS = {
    "negative_prompt": [b"", b"blue", b"", b"x"],
    "seed": [1, 2, 3, -4],
    "guidance_scale": [10.0, 1.0, 3.0, 4.0],
    "guidance_scale_end": [-1.0, 5.0, -1.0, 0.0],
    "temperature": [1.0, 0.5, 2.0, 1.0],
    "top_k": [0, 5, 50, 8],
    "top_p": [1.0, 0.9, 1.0, 0.5],
}


@pytest.fixture(scope="module")
def drawn(task):
    """What the model in memory draws for `PROMPTS` and `CONTROLS`."""
    prompts = {"prompts": PROMPTS, "negative_prompts": CONTROLS["negative_prompt"]}
    others = {k: x for k, x in CONTROLS.items() if k != "negative_prompt"}
    return task.generate(prompts, return_tokens=True, **others)


# === Equal to the model in memory ===


def test_signatures(session):
    assert set(session.signatures) - {"__saved_model_init_op"} == {
        "serving_default",
        "generate",
        "tokenize",
        "encode_image",
        "decode_tokens",
        "decode_chunk",
        "score",
        "complete_image",
    }


def test_every_input_and_output_is_of_rows(session):
    for name in GOOD_ROWS:
        signature = session.signatures[name]
        assert "error" in signature.outputs
        for info in signature.inputs.values():
            assert [dim.size for dim in info.tensor_shape.dim] == [-1]
        for info in signature.outputs.values():
            assert info.tensor_shape.dim[0].size == -1


def test_pictures_and_tokens_are_those_of_generate(call, drawn):
    served = call("generate", prompt=PROMPTS, **CONTROLS)
    np.testing.assert_array_equal(served["image_tokens"], drawn["image_tokens"])
    np.testing.assert_array_equal(served["image"], drawn["images"])
    files = call("serving_default", prompt=PROMPTS, **CONTROLS)
    np.testing.assert_array_equal(pixels(files["image_bytes"]), drawn["images"])


def test_text_tokens_are_those_of_the_preprocessor(task, call):
    served = call("tokenize", prompt=PROMPTS)
    expected = task.preprocessor.generate_preprocess(tf.constant(PROMPTS))
    np.testing.assert_array_equal(served["token_ids"], expected["encoder_token_ids"])
    mask_BS = expected["encoder_padding_mask"].numpy()
    np.testing.assert_array_equal(served["padding_mask"], mask_BS)
    np.testing.assert_array_equal(served["num_tokens"], mask_BS.sum(1))


def test_decoded_tokens_are_the_pictures_drawn(call, drawn):
    served = call("decode_tokens", image_tokens_bytes=packed(drawn["image_tokens"]))
    np.testing.assert_array_equal(pixels(served["image_bytes"]), drawn["images"])


@pytest.mark.parametrize("shape", [(SIZE, SIZE), (3, 5), (40, 31), (300, 700)])
def test_encoded_pictures_are_those_that_generate_keeps(task, call, shape):
    pictures = [noise(*shape), smooth(*shape)]
    files = [file_of("PNG", pictures[0]), file_of("JPEG", pictures[1])]
    pictures[1] = np.asarray(Image.open(io.BytesIO(files[1])))
    kept = [
        # All of it is kept, so that nothing is drawn.
        task.generate("", image=x, mask=np.zeros(shape), return_tokens=True)
        for x in pictures
    ]
    served = call("encode_image", image_bytes=files)
    expected = [x["image_tokens"] for x in kept]
    np.testing.assert_array_equal(served["image_tokens"], expected)


def test_raw_pixels_are_a_picture(call):
    picture = noise(SIZE, SIZE)
    files = [picture.tobytes(), file_of("PNG", picture)]
    raw, png = call("encode_image", image_bytes=files)["image_tokens"]
    np.testing.assert_array_equal(raw, png)


def test_score_is_that_of_the_model_in_memory(task, call, drawn):
    tokens_BT = drawn["image_tokens"]
    inputs = {"prompts": PROMPTS, "image_tokens": tokens_BT}
    served = call("score", prompt=PROMPTS, image_tokens_bytes=packed(tokens_BT))
    np.testing.assert_allclose(served["log_likelihood"], task.score(inputs), rtol=1e-5)
    expected_BT = task.score(inputs, per_token=True)
    np.testing.assert_allclose(
        served["token_log_likelihoods"], expected_BT, rtol=1e-5, atol=1e-5
    )


def test_score_of_a_picture_is_that_of_its_tokens(task, call, drawn):
    files = [file_of("PNG", image) for image in drawn["images"]]
    served = call("score", prompt=PROMPTS, image_bytes=files)
    expected = task.score({"prompts": PROMPTS, "images": drawn["images"]})
    np.testing.assert_allclose(served["log_likelihood"], expected, rtol=1e-5)


def test_score_tells_of_a_weight_that_is_none(task, call, drawn):
    prompts = ["a cat:1,2 AND a dog", "a cat:0.5 AND a dog"]
    tokens_BT = drawn["image_tokens"][:2]
    served = call("score", prompt=prompts, image_tokens_bytes=packed(tokens_BT))
    assert b":1,2" in served["error"][0] and served["error"][1] == b""
    good = {"prompts": prompts[1], "image_tokens": tokens_BT[1:]}
    np.testing.assert_allclose(
        served["log_likelihood"][1:], task.score(good), rtol=1e-5
    )


def test_completed_picture_is_that_of_generate(task, call, drawn):
    pictures = [noise(20, 30), noise(SIZE, SIZE)]
    masks = [np.zeros(picture.shape[:2], np.uint8) for picture in pictures]
    masks[0][11:, 8:] = 1
    masks[1][:, : SIZE // 2] = 255
    served = call(
        "complete_image",
        prompt=PROMPTS[:2],
        image_bytes=[file_of("PNG", picture) for picture in pictures],
        mask_bytes=[file_of("PNG", mask) for mask in masks],
        seed=[1, 2],
    )
    expected = [
        task.generate(PROMPTS[i], image=pictures[i], mask=masks[i], seed=i + 1)
        for i in range(2)
    ]
    assert served["error"].tolist() == [b"", b""]
    np.testing.assert_array_equal(pixels(served["image_bytes"]), expected)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", None])
def test_a_mask_of_another_size_than_its_picture_is_a_fault(call, kind):
    picture = noise(SIZE, SIZE)
    image = file_of(kind, picture) if kind else picture.tobytes()
    masks = [np.ones((SIZE, SIZE + 1), np.uint8), np.ones((SIZE, SIZE), np.uint8)]
    served = call(
        "complete_image",
        prompt=[b"sun"] * 2,
        image_bytes=[image] * 2,
        mask_bytes=[file_of("PNG", mask) for mask in masks],
    )
    other = f"{SIZE + 1}×{SIZE} for a picture of {SIZE}×{SIZE}."
    assert served["error"][0].decode().endswith(other)
    assert served["error"][1] == b""


def test_kept_rows_and_bytes_of_tokens_are_masks(call):
    mask = np.repeat([0, 0, 0, 1], SIZE * SIZE // GRID).reshape(SIZE, SIZE)
    served = call(
        "complete_image",
        prompt=[b"sun"] * 3,
        image_bytes=[file_of("PNG", noise(SIZE, SIZE))] * 3,
        mask_bytes=[file_of("PNG", mask.astype(np.uint8)), b"\0" * 12 + b"\1" * 4, b""],
        kept_rows=[-1, -1, 3],
    )
    assert len(set(served["image_bytes"])) == 1


def test_chunks_are_the_whole(call, drawn):
    """Each row starts elsewhere and adds another number of tokens."""
    given = [b""] * 4
    complete = np.zeros(4, bool)
    new = [1, 3, 7, 16]
    for _ in range(LENGTH):
        chunk = call(
            "decode_chunk",
            prompt=PROMPTS,
            image_tokens_bytes=given,
            max_new_tokens=new,
            **CONTROLS,
        )
        assert chunk["error"].tolist() == [b""] * 4
        counts = [len(tokens) // 4 for tokens in given]
        expected = np.minimum(np.add(counts, new), LENGTH)
        np.testing.assert_array_equal(chunk["num_tokens"], expected)
        given, complete = chunk["image_tokens_bytes"].tolist(), chunk["is_complete"]
        np.testing.assert_array_equal(complete, expected == LENGTH)
    assert complete.all()
    assert given == packed(drawn["image_tokens"])
    np.testing.assert_array_equal(pixels(chunk["image_bytes"]), drawn["images"])


def test_chunk_shows_the_partial_picture_of_a_stream(task, call):
    *_, partial, _ = task.generate_stream("sun", seed=7, every=8)
    chunk = call("decode_chunk", prompt=[b"sun"], seed=[7], max_new_tokens=[8])
    np.testing.assert_array_equal(pixels(chunk["image_bytes"])[0], partial)


# === Faulty rows ===


@pytest.fixture(scope="module")
def good_outputs(call):
    """The good row of each signature, three times."""

    def outputs_of(name):
        if name not in known:
            columns = {alias: [value] * 3 for alias, value in GOOD_ROWS[name].items()}
            known[name] = call(name, **columns)
        return known[name]

    known = {}
    return outputs_of


@pytest.mark.parametrize("name, fault, text", FAULTS)
def test_faulty_row_is_named_and_alone(call, good_outputs, name, fault, text):
    rows = [GOOD_ROWS[name], GOOD_ROWS[name] | fault, GOOD_ROWS[name]]
    aliases = set(GOOD_ROWS[name]) | set(fault)
    defaults = {"temperature": 1.0, "negative_prompt": b""}
    columns = {
        alias: [row.get(alias, defaults.get(alias)) for row in rows]
        for alias in aliases
    }
    outputs = call(name, **columns)
    assert text in outputs["error"][1].decode()
    for row in (0, 2):
        assert row_of(outputs, row) == row_of(good_outputs(name), row)
    assert good_outputs(name)["error"].tolist() == [b""] * 3
    blank = {
        "image": lambda x: np.all(x == 255),
        "image_bytes": lambda x: np.all(pixels([x]) == 255),
        "image_tokens": lambda x: np.all(x == -1),
        "image_tokens_bytes": lambda x: x == b"",
        "log_likelihood": lambda x: x == np.float32(WORST),
        "num_tokens": lambda x: name == "tokenize" or x == 0,
        "is_complete": lambda x: not x,
    }
    for alias in set(outputs) & set(blank):
        assert blank[alias](outputs[alias][1]), alias


@pytest.mark.parametrize("name", GOOD_ROWS)
def test_row_is_the_same_alone(call, good_outputs, name):
    alone = call(name, **{alias: [value] for alias, value in GOOD_ROWS[name].items()})
    assert row_of(alone, 0) == row_of(good_outputs(name), 1)


@pytest.mark.parametrize("name", GOOD_ROWS)
def test_no_rows_give_no_rows(call, name):
    outputs = call(name, **{alias: [] for alias in GOOD_ROWS[name]})
    assert {len(values) for values in outputs.values()} == {0}


@pytest.mark.parametrize(
    "name", [name for name, row in GOOD_ROWS.items() if len(row) > 1]
)
def test_unequal_rows_fail_with_the_counts(call, name):
    columns = {alias: [value] * 2 for alias, value in GOOD_ROWS[name].items()}
    last = list(columns)[-1]
    columns[last] = columns[last][:1]
    with pytest.raises(tf.errors.InvalidArgumentError, match="must have as many rows"):
        call(name, **columns)


@pytest.mark.parametrize("name", GOOD_ROWS)
def test_more_rows_than_a_call_may_have(call, name):
    rows = MAX_ROWS + 1
    columns = {alias: [value] * rows for alias, value in GOOD_ROWS[name].items()}
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        call(name, **columns)
    assert "A call must have at most 1024 rows. Send them in parts." in str(error.value)
    assert f"Received:] [{rows}]" in str(error.value)


def test_as_many_rows_as_a_call_may_have(call):
    prompts = [b"red heart", b"sun", b"AND"] * MAX_ROWS
    outputs = call("tokenize", prompt=prompts[:MAX_ROWS])
    alone = call("tokenize", prompt=prompts[:3])
    for name, values in alone.items():
        repeated = np.concatenate([values] * MAX_ROWS)[:MAX_ROWS]
        np.testing.assert_array_equal(outputs[name], repeated)


def test_mutated_files_are_rows_with_or_without_error(call):
    """Neighbours stay as they are whatever a file holds."""
    generator = np.random.default_rng(0)
    good = call("encode_image", image_bytes=[GOOD_FILE])["image_tokens"][0]
    for _ in range(20):
        files = [GOOD_FILE]
        for file in [GOOD_FILE, JPEG] * 8:
            mutated = np.frombuffer(file, np.uint8).copy()
            places = generator.integers(3, len(mutated), generator.integers(1, 9))
            mutated[places] = generator.integers(0, 256, len(places))
            files.append(mutated[: generator.integers(3, len(mutated))].tobytes())
        served = call("encode_image", image_bytes=files)
        np.testing.assert_array_equal(served["image_tokens"][0], good)
        assert served["error"][0] == b""


# === One copy ===


def test_variables_hold_each_weight_once(task, exported, session):
    read = {v.path: v for v in [*task.backbone.variables, *task.vqgan.variables]}
    expected = sum(v.numpy().nbytes for v in read.values())
    files = exported.glob("variables/variables.data-*")
    written = sum(file.stat().st_size for file in files)
    # The rest is the object graph, by whose names weights are restored.
    assert 0.5 * expected < written < expected + 200_000
