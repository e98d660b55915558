"""From a version's folder to a servable that has run its warm-up requests."""

import functools
import importlib
import importlib.util
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from keras_dalle.prediction_service import errors, metrics
from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.servables import Servable, Session
from keras_dalle.prediction_service.session import SavedModelSession
from keras_dalle.prediction_service.warmup import warm_up
from keras_dalle.utils.files import require_regular_file

# The stock server has its operations, and so has a process that has imported it.
EXTRA_OPERATIONS = "tensorflow_text"
GRAPH_FILE = tf.saved_model.SAVED_MODEL_FILENAME_PB
TEXT_GRAPH_FILE = tf.saved_model.SAVED_MODEL_FILENAME_PBTXT

_logger = logging.getLogger(__name__)

# Of a session and the folder that it was loaded from.
SessionWrapper = Callable[[SavedModelSession, Path], Session]


class VersionLoader:
    """Loads versions, as the manager calls for them.

    Args:
        wrap: What stands in front of TensorFlow's session, such as batching.
        warmups: How often a version runs each of its warm-up requests first.
        config: How TensorFlow is to run.
        tags: Of the graphs to load.
        checks_method_names: A call takes only signatures that were made for it.
    """

    def __init__(
        self,
        wrap: SessionWrapper = lambda session, _: session,
        warmups: int = 1,
        config: tf.compat.v1.ConfigProto | None = None,
        tags: Sequence[str] = (tf.saved_model.SERVING,),
        checks_method_names: bool = False,
    ):
        self._wrap = wrap
        self._warmups = warmups
        self._config = config
        self._tags = tags
        self._checks_method_names = checks_method_names

    def __call__(self, name: str, version: int, path: Path) -> Servable:
        """The version in `path`.

        Raises:
            ServingError: It does not load, or a warm-up request fails.
        """
        servable = Servable(
            name, version, self._session(path), self._checks_method_names
        )
        try:
            warm_up(servable, path, self._warmups)
        except ServingError:
            servable.close()
            raise
        return servable

    def _session(self, path: Path) -> Session:
        import_extra_operations()
        _require_regular_files(path)
        session = self._loaded(path)
        try:
            return self._wrap(session, path)
        # The version's own batching_params.pbtxt may hold anything.
        except Exception as error:
            session.close()
            raise errors.unreadable_version(str(path), str(error)) from error

    def _loaded(self, path: Path) -> SavedModelSession:
        start = time.perf_counter()
        status = metrics.LOAD_FAILED
        try:
            session = SavedModelSession(path, self._config, self._tags)
            status = metrics.LOAD_SUCCEEDED
            return session
        except tf.errors.OpError as error:
            raise errors.from_tensorflow(_first(error)) from error
        # What else a damaged file can lead to is not for a server to know.
        except Exception as error:
            raise _refusal(path, self._tags, error) from error
        finally:
            microseconds = int((time.perf_counter() - start) * 1e6)
            metrics.LOAD_ATTEMPT_COUNT.increment(str(path), status)
            metrics.LOAD_LATENCY.increment(str(path), by=microseconds)


def _require_regular_files(path: Path) -> None:
    """Refuses pipes and devices: reading one would block this and all later reloads."""
    for file in path.rglob("*"):
        if file.exists() and not file.is_dir():
            try:
                require_regular_file(file)
            except ValueError as error:
                raise errors.unreadable_version(str(path), str(error)) from error


@functools.cache
def import_extra_operations() -> None:
    """Registers the operations of tensorflow-text, if it is installed."""
    if importlib.util.find_spec(EXTRA_OPERATIONS) is None:
        return
    try:
        importlib.import_module(EXTRA_OPERATIONS)
    # It may have been built for another TensorFlow.
    except (ImportError, tf.errors.OpError) as error:
        _logger.warning("Without the operations of tensorflow-text: %s", error)


def _first(error: tf.errors.OpError) -> tf.errors.OpError:
    """Returns the first error: Python's `Saver` reports a later one, which hides it."""
    first, current = error, error.__context__
    while current is not None:
        if isinstance(current, tf.errors.OpError):
            first = current
        current = current.__context__
    return first


def _refusal(path: Path, tags: Sequence[str], error: Exception) -> ServingError:
    """Returns the stock server's error for a folder that Python cannot load."""
    file = next(
        (
            path / name
            for name in (GRAPH_FILE, TEXT_GRAPH_FILE)
            if (path / name).exists()
        ),
        None,
    )
    if file is None:
        return errors.no_saved_model(str(path))
    try:
        if file.name == GRAPH_FILE:
            model = SavedModel.FromString(file.read_bytes())
        else:
            model = text_format.Parse(file.read_bytes(), SavedModel())
    except (DecodeError, text_format.ParseError, UnicodeDecodeError):
        kind = "binary" if file.name == GRAPH_FILE else "text"
        return errors.unparsable_saved_model(str(file), kind)
    except OSError as reason:
        return errors.unreadable_version(str(path), str(reason))
    if not any(
        set(graph.meta_info_def.tags) == set(tags) for graph in model.meta_graphs
    ):
        return errors.no_graph_with_tags(tags)
    return errors.unreadable_version(str(path), str(error))
