"""TensorFlow's C++ session over a SavedModel, as the stock server holds one.

All private TensorFlow API of the prediction service is in this file. `Session.run`
rewrites errors on their way (a wrong dtype becomes INTERNAL) and takes no feeds by
name from a signature; the entry below it gives the C++ code and text unchanged.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.client import pywrap_tf_session


class SavedModelSession:
    """A session with the variables and tables of one SavedModel. Thread-safe.

    Args:
        path: A version's folder, with `saved_model.pb`.
        config: How TensorFlow is to run.
        tags: Of the graph in it.

    Raises:
        tf.errors.OpError, OSError: The folder does not hold a whole SavedModel.
    """

    def __init__(
        self,
        path: str | Path,
        config: tf.compat.v1.ConfigProto | None = None,
        tags: Sequence[str] = (tf.saved_model.SERVING,),
    ):
        self._graph = tf.Graph()
        if config is None:
            # A GPU is shared with whoever exported the model in the same minute.
            options = tf.compat.v1.GPUOptions(allow_growth=True)
            config = tf.compat.v1.ConfigProto(gpu_options=options)
        self._session = tf.compat.v1.Session(graph=self._graph, config=config)
        with self._graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(
                self._session, list(tags), str(path)
            )
        # A copy of these alone: the rest is the whole graph once more.
        self._signatures = meta_graph_pb2.MetaGraphDef(
            signature_def=meta_graph.signature_def
        ).signature_def
        self._graph.finalize()
        self._session._extend_graph()

    @property
    def signatures(self) -> Mapping[str, meta_graph_pb2.SignatureDef]:
        return self._signatures

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        timeout_ms: int = 0,
    ) -> list[np.ndarray]:
        """Runs the graph.

        Args:
            feeds: Arrays by tensor name, as signatures have them ("seed:0").
            fetches: Tensor names.
            timeout_ms: Milliseconds after which the run is stopped; 0 for never.

        Raises:
            tf.errors.OpError: With the C++ session's own code and text.
        """
        options = tf.compat.v1.RunOptions(timeout_in_ms=timeout_ms)
        buffer = pywrap_tf_session.TF_NewBufferFromString(options.SerializeToString())
        try:
            return pywrap_tf_session.TF_SessionRun_wrapper(
                self._session._session,
                buffer,
                {self._output(name): array for name, array in feeds.items()},
                [self._output(name) for name in fetches],
                [],
                None,
            )
        finally:
            pywrap_tf_session.TF_DeleteBuffer(buffer)

    def fits(self, feeds: Mapping[str, np.ndarray]) -> bool:
        """Whether arrays have the dtypes and shapes of the tensors they are for."""
        for name, array in feeds.items():
            tensor = self._graph.get_tensor_by_name(name)
            if tensor.dtype.as_numpy_dtype != array.dtype:
                return False
            if not tensor.shape.is_compatible_with(array.shape):
                return False
        return True

    def close(self) -> None:
        self._session.close()

    def _output(self, tensor_name: str) -> object:
        return self._graph.get_tensor_by_name(tensor_name)._as_tf_output()
