import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.saved_model.signatures import ServingModule
from tests.toy_task import IMAGE_SIZE, ToyTask

GOOD_ROW = {
    "prompt": b"red",
    "negative_prompt": b"",
    "seed": 1,
    "guidance_scale": 10.0,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "guidance_scale_end": -1.0,
}
DTYPES = {
    "prompt": tf.string,
    "negative_prompt": tf.string,
    "seed": tf.int64,
    "guidance_scale": tf.float32,
    "temperature": tf.float32,
    "top_k": tf.int32,
    "top_p": tf.float32,
    "guidance_scale_end": tf.float32,
}


@pytest.fixture(scope="module")
def serve():
    module = ServingModule(ToyTask())

    def call(*rows):
        rows = [{**GOOD_ROW, **row} for row in rows]
        inputs = {
            name: tf.constant([row[name] for row in rows], dtype)
            for name, dtype in DTYPES.items()
        }
        outputs = module.functions["serving_default"](**inputs)
        images = [tf.io.decode_png(png).numpy() for png in outputs["image_bytes"]]
        return images, [text.decode() for text in outputs["error"].numpy()]

    return call


@pytest.mark.parametrize(
    "fault, text",
    [
        (
            {"temperature": -1.0},
            "`temperature` must be a finite number above 0. Received: -1",
        ),
        ({"temperature": 0.0}, "`temperature`"),
        ({"temperature": float("nan")}, "Received: nan"),
        ({"temperature": float("inf")}, "Received: inf"),
        ({"top_p": 0.0}, "`top_p` must be above 0 and at most 1 (off). Received: 0"),
        ({"top_p": 1.5}, "Received: 1.5"),
        ({"top_p": float("nan")}, "`top_p`"),
        ({"top_k": -2}, "`top_k` must be 0 (off) or more. Received: -2"),
        ({"guidance_scale": float("nan")}, "`guidance_scale`"),
        (
            {"guidance_scale": -0.5},
            "`guidance_scale` must be a finite number of at least 0. Received: -0.5",
        ),
    ],
)
def test_faulty_row_is_named_and_white_and_alone(serve, fault, text):
    images, errors = serve({}, fault, {"prompt": b"blue"})
    alone, _ = serve({}, {"prompt": b"blue"})
    assert text in errors[1]
    assert np.all(images[1] == 255)
    assert (errors[0], errors[2]) == ("", "")
    np.testing.assert_array_equal(images[0], alone[0])
    np.testing.assert_array_equal(images[2], alone[1])


def test_all_faults_of_a_row_are_named(serve):
    _, errors = serve({"temperature": -1.0, "top_k": -2})
    assert errors[0] == (
        "`temperature` must be a finite number above 0. Received: -1 "
        "`top_k` must be 0 (off) or more. Received: -2"
    )


def test_off_values_are_good(serve):
    _, errors = serve({"guidance_scale": 1.0, "top_k": 0, "top_p": 1.0})
    assert errors == [""]


def test_no_rows_give_no_rows(serve):
    module = ServingModule(ToyTask())
    outputs = module.functions["serving_default"](
        **{name: tf.zeros([0], dtype) for name, dtype in DTYPES.items()}
    )
    assert outputs["image_bytes"].shape == [0]


def test_picture_is_png_of_the_tasks_size(serve):
    images, _ = serve({})
    assert images[0].shape == (IMAGE_SIZE, IMAGE_SIZE, 3)


def test_unequal_rows_fail_with_the_rule_and_the_counts():
    module = ServingModule(ToyTask())
    inputs = {
        name: tf.constant([GOOD_ROW[name]] * 2, dtype) for name, dtype in DTYPES.items()
    }
    inputs["seed"] = tf.constant([1], tf.int64)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="as many rows as `prompt`"
    ):
        module.functions["serving_default"](**inputs)


def test_only_what_the_signature_reads_is_tracked():
    task = ToyTask()
    module = ServingModule(task)
    assert [v.ref() for v in module.weights] == [task.weight.ref()]
    assert module.tables == [task.table]
