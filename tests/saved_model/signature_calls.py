"""Calls of an exported model's signatures by the session that a server holds."""

import numpy as np
import tensorflow as tf

from keras_dalle.prediction_service.session import SavedModelSession


class SignatureCalls:
    """`calls(name, **columns)` gives a signature's outputs by name.

    What is not given is the signature's default, in every row.
    """

    def __init__(self, session: SavedModelSession):
        self._session = session

    def __call__(self, name, **columns):
        signature = self._session.signatures[name]
        unknown = set(columns) - set(signature.inputs)
        assert not unknown, unknown
        count = len(next(iter(columns.values())))
        feeds = {}
        for alias, info in signature.inputs.items():
            dtype = tf.as_dtype(info.dtype).as_numpy_dtype
            if alias in columns:
                feeds[info.name] = np.array(columns[alias], dtype)
            else:
                default = tf.make_ndarray(signature.defaults[alias])
                feeds[info.name] = np.repeat(default, count)
        fetches = {alias: info.name for alias, info in signature.outputs.items()}
        outputs = self._session.run(feeds, list(fetches.values()))
        return dict(zip(fetches, outputs, strict=True))


def row_of(outputs, row):
    """One row of every output, so that it can be compared by `==`."""
    return {name: np.asarray(values[row]).tolist() for name, values in outputs.items()}
