"""A row's picture is the same in any batch, streamed, and from a SavedModel."""

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.commands.grids import decode_pngs
from keras_dalle.generation.parameters import PARAMETERS
from keras_dalle.prediction_service.session import SavedModelSession
from keras_dalle.saved_model.exporter import export_saved_model
from tests.tiny_preset import tiny_task

ROWS = {
    "prompt": ["red heart", "a cat:1.2 AND a dog:0.6", "the sun", "x AND y AND z:-1"],
    "negative_prompt": ["", "", "a dog", "blurry"],
    "seed": [0, 1, -7, 2**62],
    "guidance_scale": [3.0, 2.0, 10.0, 1.5],
    "guidance_scale_end": [-1.0, 6.0, 1.0, -1.0],
    "temperature": [1.0, 0.7, 1.3, 1.0],
    "top_k": [0, 8, 1, 20],
    "top_p": [1.0, 0.9, 1.0, 0.95],
}
COUNT = len(ROWS["seed"])
IMAGE = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
# A hole in the middle: kept tokens before it and behind it.
HOLE = np.zeros((8, 8), bool)
HOLE[2:6, 2:6] = True


@pytest.fixture(scope="module")
def task():
    return tiny_task()


@pytest.fixture(scope="module")
def exported(task, tmp_path_factory):
    return export_saved_model(task, tmp_path_factory.mktemp("models"))


def arguments_of(order):
    """Arguments of `generate` for some of the rows."""
    chosen = {name: [values[row] for row in order] for name, values in ROWS.items()}
    prompts = chosen.pop("prompt"), chosen.pop("negative_prompt")
    inputs = dict(zip(("prompts", "negative_prompts"), prompts, strict=True))
    return {"inputs": inputs, **chosen}


@pytest.fixture(scope="module")
def alone(task):
    """Each row drawn by itself, uint8 [B, 8, 8, 3]."""
    rows = [task.generate(**arguments_of([row])) for row in range(COUNT)]
    return np.concatenate(rows)


def feeds(order):
    dtypes = {p.name: p.dtype.as_numpy_dtype for p in PARAMETERS}
    return {
        name: np.array([values[row] for row in order], dtypes.get(name, object))
        for name, values in ROWS.items()
    }


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1], [2, 0, 0, 1, 3, 2, 1] * 7])
def test_in_any_batch(task, alone, order):
    np.testing.assert_array_equal(task.generate(**arguments_of(order)), alone[order])


@pytest.mark.parametrize("every", [1, 5])
def test_streamed(task, alone, every):
    arguments = arguments_of(range(COUNT))
    *_, last = task.generate_stream(**arguments, every=every)
    np.testing.assert_array_equal(last, alone)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [1], [3, 0]])
def test_from_a_loaded_saved_model(exported, alone, order):
    serve = tf.saved_model.load(str(exported)).signatures["serving_default"]
    outputs = serve(**{n: tf.constant(x) for n, x in feeds(order).items()})
    assert not any(outputs["error"].numpy())
    pictures = decode_pngs(outputs["image_bytes"].numpy())
    np.testing.assert_array_equal(pictures, alone[order])


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2]])
def test_from_a_session(exported, alone, order):
    session = SavedModelSession(exported)
    signature = session.signatures["serving_default"]
    values = feeds(order)
    values["prompt"] = np.array([x.encode() for x in values["prompt"]], object)
    negative = [x.encode() for x in values["negative_prompt"]]
    values["negative_prompt"] = np.array(negative, object)
    names = [signature.outputs[alias].name for alias in ("image_bytes", "error")]
    pngs, errors = session.run(
        {signature.inputs[alias].name: x for alias, x in values.items()}, names
    )
    session.close()
    assert not any(errors)
    np.testing.assert_array_equal(decode_pngs(list(pngs)), alone[order])


@pytest.mark.parametrize(
    "given", [{"mask": HOLE}, {"mask": HOLE, "keep_fraction": 0.5}]
)
def test_with_a_mask(task, given):
    given = {"image": IMAGE, **given}
    together = task.generate(**arguments_of(range(COUNT)), **given)
    for row in range(COUNT):
        one = task.generate(**arguments_of([row]), **given)
        np.testing.assert_array_equal(one[0], together[row])
    *_, streamed = task.generate_stream(**arguments_of(range(COUNT)), **given)
    np.testing.assert_array_equal(streamed, together)
    assert not np.array_equal(together, task.generate(**arguments_of(range(COUNT))))


def test_a_malformed_weight_is_its_rows_fault(exported, alone):
    values = feeds(range(COUNT))
    values["prompt"][1] = "a cat:1.2.3 AND a dog"
    serve = tf.saved_model.load(str(exported)).signatures["serving_default"]
    outputs = serve(**{n: tf.constant(x) for n, x in values.items()})
    errors = outputs["error"].numpy()
    assert b"must end in a weight below 1000" in errors[1]
    assert [bool(text) for text in errors] == [False, True, False, False]
    pictures = decode_pngs(outputs["image_bytes"].numpy())
    np.testing.assert_array_equal(pictures[[0, 2, 3]], alone[[0, 2, 3]])
