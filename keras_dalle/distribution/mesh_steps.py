"""Keras's train, test and predict functions for models on a mesh."""

import itertools

import keras
import numpy as np
import tensorflow as tf

from keras_dalle.distribution.layout_rules import BATCH
from keras_dalle.distribution.mesh import layout, rows_to_mesh, to_host
from keras_dalle.distribution.private_api import functional_control_flow
from keras_dalle.distribution.process_rows import process_shard


class BatchPacker:
    """Puts host batches on a mesh, their rows shared out along `batch`.

    An epoch's last, partial batch goes to each device whole if it does not divide.
    With several processes, each packs its own rows, see `process_shard`.

    Args:
        mesh: a DTensor mesh.
    """

    def __init__(self, mesh):
        self.mesh = mesh
        self._shard = process_shard(mesh)
        self._most_rows = 0

    def __call__(self, data):
        """Packs a structure of arrays that may have `None`s."""
        arrays = [x for x in keras.tree.flatten(data) if _is_array(x)]
        axis = self._axis(arrays[0].shape[0])

        def pack(array):
            if not _is_array(array):
                return None
            axes = (axis, *(None,) * (len(array.shape) - 1))
            return rows_to_mesh(array, layout(self.mesh, axes), self._shard)

        return keras.tree.map_structure(pack, data)

    def _axis(self, local_rows):
        rows = local_rows * self._shard[0]
        devices = self.mesh.dim_size(BATCH)
        if rows % devices == 0:
            self._most_rows = max(self._most_rows, rows)
            return BATCH
        if rows < self._most_rows and self._shard[0] == 1:
            return None
        raise ValueError(
            f"The rows of a batch (={rows}) must be divisible by the mesh's `batch` "
            f"(={devices}). Choose such a `batch_size`, and `drop_remainder=True` for "
            "a dataset's last batch."
        )


def _is_array(x):
    return x is not None and not isinstance(x, tf.experimental.Optional)


def make_step_function(model, step, prepare):
    """A function that runs a step on the next batches of an iterator, as Keras's does.

    Args:
        model: the compiled model, which knows `steps_per_execution`.
        step: `model.train_step` or `model.test_step`.
        prepare: callable that puts a host batch on the mesh.
    """
    step = _compiled(step)

    def function(iterator):
        logs = None
        for data in itertools.islice(iterator, model.steps_per_execution):
            logs = step(prepare(data))
        if logs is None:
            raise StopIteration
        return keras.tree.map_structure(to_host, logs)

    return function


def make_predict_function(model, prepare, finish):
    """The same for `predict`, which brings its batches along.

    Args:
        model: the compiled model.
        prepare: callable that puts a host batch on the mesh.
        finish: callable of a step's outputs as arrays.
    """
    step = _compiled(model.predict_step)

    def function(batches):
        outputs = [
            finish(keras.tree.map_structure(to_host, step(prepare(data))))
            for data in batches
        ]
        return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *outputs)

    return function


def _compiled(step):
    def traced(data):
        with functional_control_flow():
            return step(data)

    return tf.function(traced, autograph=False)
