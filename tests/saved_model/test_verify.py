import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.saved_model.exporter import export_saved_model
from keras_dalle.saved_model.verify import find_faults, verify_saved_model
from tests.toy_task import IMAGE_SIZE, ToyTask, export_toy


def test_good_model_runs_where_only_tensorflow_is_imported(tmp_path):
    report = verify_saved_model(export_toy(tmp_path))
    assert report.image_shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
    assert {"EncodePng", "Assert", "LookupTableFindV2"} <= set(report.ops)


def faults_of(function):
    graph_def = function.get_concrete_function().graph.as_graph_def()
    return " ".join(find_faults(graph_def))


def test_python_op_is_rejected():
    @tf.function
    def function():
        return tf.py_function(lambda: 1.0, [], tf.float32)

    assert "Python op EagerPyFunc" in faults_of(function)


def test_weight_constant_is_rejected():
    @tf.function
    def function():
        return tf.constant(np.arange(20_000, dtype=np.float32))

    assert "constant Const of 80," in faults_of(function)


def test_vocabulary_constant_is_allowed():
    @tf.function
    def function():
        return tf.constant(np.arange(20_000))

    assert faults_of(function) == ""


def test_mutable_table_is_rejected():
    @tf.function
    def function():
        table = tf.raw_ops.AnonymousMutableHashTable(
            key_dtype=tf.string, value_dtype=tf.int64
        )
        return tf.raw_ops.LookupTableSizeV2(table_handle=table)

    assert "mutable table AnonymousMutableHashTable" in faults_of(function)


def test_jit_function_is_rejected():
    @tf.function(jit_compile=True)
    def inner(x):
        return x + 1.0

    @tf.function
    def function():
        return inner(tf.zeros([2]))

    assert "jit function" in faults_of(function)


def test_export_of_a_model_with_a_python_op_does_not_verify(tmp_path):
    class PythonTask(ToyTask):
        def generate_rows(self, **inputs):
            outputs = super().generate_rows(**inputs)
            images = outputs["images"]
            outputs["images"] = tf.ensure_shape(
                tf.numpy_function(lambda x: x, [images], tf.uint8), images.shape
            )
            return outputs

    path = export_saved_model(PythonTask(), tmp_path)
    with pytest.raises(ValueError, match="Python op"):
        verify_saved_model(path)
