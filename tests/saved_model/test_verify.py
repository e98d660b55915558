"""What `export --check` finds in real SavedModels, good and bad."""

import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from keras_dalle.saved_model.exporter import export_saved_model
from keras_dalle.saved_model.graph_rules import RANDOM_OPS, find_faults
from keras_dalle.saved_model.signatures import ServingModule
from keras_dalle.saved_model.verify import NUM_ROWS, verify_saved_model
from tests.toy_task import ToyTask


class ChangedTask(ToyTask):
    """A toy whose pictures go through `change` within the graph."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def generate_rows(self, *inputs, **parameters):
        outputs = super().generate_rows(*inputs, **parameters)
        images = outputs["images"]
        changed = tf.cast(self.change(images), tf.uint8)
        return {**outputs, "images": tf.ensure_shape(changed, images.shape)}


def report_of(task, folder):
    reports = []
    export_saved_model(
        task, folder, check=lambda *args: reports.append(verify_saved_model(*args))
    )
    return reports[0]


def refusal(change, folder):
    """Why the export of a changed toy fails. It leaves nothing behind."""
    with pytest.raises(ValueError) as error:
        report_of(ChangedTask(change), folder)
    assert list(folder.iterdir()) == []
    return str(error.value)


def test_good_model_gives_what_memory_gives(tmp_path):
    report = report_of(ToyTask(), tmp_path)
    check = report.signatures[0]
    assert (check.name, check.num_rows, check.num_faulty) == (
        "serving_default",
        NUM_ROWS,
        0,
    )
    assert check.compared == {"image_bytes": "string [2]", "error": "string [2]"}
    libraries = {use.op: use.library for use in report.operations}
    assert {"EncodePng", "Assert", "LookupTableFindV2", "StatelessWhile"} <= set(
        libraries
    )
    assert set(libraries.values()) == {"core"}


def test_python_op_is_rejected(tmp_path):
    message = refusal(
        lambda images: tf.py_function(lambda x: x, [images], tf.uint8), tmp_path
    )
    assert "no Python op" in message
    assert "Received: EagerPyFunc (node EagerPyFunc of function " in message
    assert "Write it with TensorFlow's ops." in message


def test_mutable_table_is_rejected(tmp_path):
    def count(images):
        table = tf.raw_ops.MutableHashTableV2(
            key_dtype=tf.string, value_dtype=tf.int64, shared_name="words"
        )
        size = tf.raw_ops.LookupTableSizeV2(table_handle=table)
        return images + tf.cast(size, tf.uint8)

    message = refusal(count, tmp_path)
    assert "no mutable table" in message
    assert "Received: MutableHashTableV2" in message


@pytest.mark.parametrize(
    "constant, text",
    [
        (np.arange(20_000, dtype=np.float32), "A float32 constant must have at most"),
        (np.arange(300_000, dtype=np.int32), "A int32 constant must have at most"),
    ],
    ids=["weights", "integers"],
)
def test_large_constant_is_rejected(tmp_path, constant, text):
    def add(images):
        x = tf.gather(tf.constant(constant), tf.shape(images)[0])
        return images + tf.cast(x, tf.uint8)

    message = refusal(add, tmp_path)
    assert text in message
    assert f"Received: {constant.nbytes:,}"[:-3] in message


def test_stateful_random_op_is_rejected(tmp_path):
    def noise(images):
        x = tf.random.uniform(tf.shape(images), 0, 5, tf.int32)
        return images + tf.cast(x, tf.uint8)

    message = refusal(noise, tmp_path)
    assert "no random op with a state" in message
    assert "RandomUniformInt" in message


def test_jit_function_is_rejected_unless_asked_for(tmp_path):
    @tf.function(jit_compile=True)
    def brighter(images):
        return images + 1

    assert "no jit function" in refusal(brighter, tmp_path)
    export_saved_model(
        ChangedTask(brighter),
        tmp_path,
        check=functools.partial(verify_saved_model, allow_jit=True),
    )


def test_all_faults_are_named(tmp_path):
    def change(images):
        x = tf.random.normal([]) + tf.numpy_function(lambda: 1.0, [], tf.float32)
        return images + tf.cast(x, tf.uint8)

    message = refusal(change, tmp_path)
    assert "RandomStandardNormal" in message
    assert "PyFunc" in message


def test_vocabulary_constant_is_allowed():
    @tf.function
    def function():
        return tf.constant(np.arange(100_000))

    graph_def = function.get_concrete_function().graph.as_graph_def()
    assert find_faults(graph_def) == []


def test_random_ops_exist_and_have_a_state():
    for name in RANDOM_OPS:
        assert op_def_registry.get(name).is_stateful, name


def test_op_of_tensorflow_text_is_known_to_be_linked(tmp_path):
    def split(images):
        words = tensorflow_text.regex_split(tf.constant(["a b"]), r"\s")
        return images + tf.cast(tf.size(words.flat_values), tf.uint8)

    report = report_of(ChangedTask(split), tmp_path)
    libraries = {use.op: use.library for use in report.operations}
    assert libraries["RegexSplitWithOffsets"] == "tensorflow_text"


def test_op_that_the_stock_server_lacks_is_named(tmp_path):
    path = export_saved_model(ToyTask(), tmp_path)
    file = path / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    saved_model.meta_graphs[0].graph_def.node[0].op = "FlashAttention"
    file.write_bytes(saved_model.SerializeToString())
    with pytest.raises(ValueError, match="only ops of the stock.*: FlashAttention"):
        verify_saved_model(path, ServingModule(ToyTask()))


def test_other_pictures_than_in_memory_are_noticed(tmp_path):
    path = export_saved_model(ToyTask(), tmp_path)
    other = ToyTask()
    other.weight.assign_add([0.0, 0.0, 1.0])
    with pytest.raises(ValueError, match="Output image_bytes of signature serving_de"):
        verify_saved_model(path, ServingModule(other))


def test_damaged_file_is_named(tmp_path):
    path = export_saved_model(ToyTask(), tmp_path)
    (path / "saved_model.pb").write_bytes(b"\xff\xff")
    with pytest.raises(ValueError, match="must be a SavedModel of one graph"):
        verify_saved_model(path, ServingModule(ToyTask()))


def test_missing_weights_are_named(tmp_path):
    path = export_saved_model(ToyTask(), tmp_path)
    for file in (path / "variables").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match="must load and run with TensorFlow alone"):
        verify_saved_model(path, ServingModule(ToyTask()))
