"""From a version's folder to a servable that has run its warm-up requests."""

from collections.abc import Callable, Sequence
from pathlib import Path

import tensorflow as tf

from keras_dalle.prediction_service import errors
from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.servables import Servable, Session
from keras_dalle.prediction_service.session import SavedModelSession
from keras_dalle.prediction_service.warmup import warm_up

# Of a session and the folder that it was loaded from.
SessionWrapper = Callable[[SavedModelSession, Path], Session]


class VersionLoader:
    """Loads versions, as the manager calls for them.

    Args:
        wrap: What stands in front of TensorFlow's session, such as batching.
        warmups: How often a version runs each of its warm-up requests first.
        config: How TensorFlow is to run.
        tags: Of the graphs to load.
        checks_method_names: Calls take only signatures that were made for them.
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
        session = None
        try:
            session = SavedModelSession(path, self._config, self._tags)
            return self._wrap(session, path)
        except tf.errors.OpError as error:
            raise errors.from_tensorflow(error) from error
        # What else a damaged file can lead to is not for a server to know.
        except Exception as error:
            if session is not None:
                session.close()
            raise errors.unreadable_version(str(path), str(error)) from error
