"""From a version's folder to a servable that has run its warm-up requests."""

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from keras_dalle.prediction_service import errors
from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.servables import Servable, Session
from keras_dalle.prediction_service.session import SavedModelSession
from keras_dalle.prediction_service.warmup import warm_up

SessionWrapper = Callable[[SavedModelSession], Session]


class VersionLoader:
    """Loads versions, as the manager calls for them.

    Args:
        wrap: What stands in front of TensorFlow's session, such as batching.
        replays_warmup: Whether a version runs its warm-up requests first.
    """

    def __init__(
        self,
        wrap: SessionWrapper = lambda session: session,
        replays_warmup: bool = True,
    ):
        self._wrap = wrap
        self._replays_warmup = replays_warmup

    def __call__(self, name: str, version: int, path: Path) -> Servable:
        """The version in `path`.

        Raises:
            ServingError: It does not load, or a warm-up request fails.
        """
        servable = Servable(name, version, self._wrap(_load(path)))
        if self._replays_warmup:
            try:
                warm_up(servable, path)
            except ServingError:
                servable.close()
                raise
        return servable


def _load(path: Path) -> SavedModelSession:
    try:
        return SavedModelSession(path)
    except tf.errors.OpError as error:
        raise errors.from_tensorflow(error) from error
    # What else a damaged file can lead to is not for a server to know.
    except Exception as error:
        raise errors.unreadable_version(str(path), str(error)) from error
