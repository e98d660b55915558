"""The life of versions: load, publish, drain, unload.

The stock server's availability-preserving policy: a new version is loaded before the
old one goes, and one that does not load leaves the old one serving.
"""

import contextlib
import dataclasses
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus

from keras_dalle.prediction_service import errors
from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.servables import Servable

_logger = logging.getLogger(__name__)

# Loads one version; raises a `ServingError` where that fails.
Loader = Callable[[str, int, Path], Servable]


@dataclasses.dataclass
class VersionState:
    """Where a version is in its life, as GetModelStatus tells it."""

    path: Path
    state: int = ModelVersionStatus.START
    error: ServingError | None = None
    servable: Servable | None = None
    failures: int = 0
    retry_at: float = 0.0


class ServableManager:
    """Holds the versions of all models and brings them to what is wanted.

    Thread-safe. `reconcile` loads in the caller's thread, one version at a time.

    Args:
        loader: Loads a version.
        max_retries: How often a version that does not load is tried again.
        retry_interval: Seconds between two tries.
    """

    def __init__(self, loader: Loader, max_retries: int, retry_interval: float):
        self._loader = loader
        self._max_retries = max_retries
        self._retry_interval = retry_interval
        self._lock = threading.Lock()
        self._reconciling = threading.Lock()
        self._versions: dict[str, dict[int, VersionState]] = {}
        self._closed = False

    @contextlib.contextmanager
    def use(self, name: str, version: int | None) -> Iterator[Servable]:
        """A version that stays open in the `with` block: this one, or the latest.

        Raises:
            ServingError: It is not there, or not loaded.
        """
        with contextlib.ExitStack() as stack:
            with self._lock:
                available = self._available(name)
                wanted = max(available, default=None) if version is None else version
                if wanted not in available:
                    raise errors.servable_not_found(name, version)
                # Under the lock: what is found is not closed before it is used.
                servable = stack.enter_context(available[wanted])
            yield servable

    def states(self, name: str) -> dict[int, VersionState]:
        """All versions of a model that there have been, latest first."""
        with self._lock:
            states = sorted(self._versions.get(name, {}).items(), reverse=True)
            return {version: dataclasses.replace(state) for version, state in states}

    def is_available(self, name: str, version: int) -> bool:
        with self._lock:
            return version in self._available(name)

    def reconcile(self, aspired: Mapping[str, Mapping[int, Path]]) -> None:
        """Loads and unloads until the versions are those wanted, or did not load.

        Args:
            aspired: The folders of the wanted versions, by model and version. Models
                that are not in it are unloaded.
        """
        with self._reconciling:
            for name in [*aspired, *(set(self._versions) - set(aspired))]:
                self._note_aspired(name, aspired.get(name, {}))
                while not self._closed and self._step(name, aspired.get(name, {})):
                    pass

    def close(self) -> None:
        """Unloads everything, whoever uses it."""
        self._closed = True
        with self._reconciling, self._lock:
            servables = [
                state.servable
                for versions in self._versions.values()
                for state in versions.values()
                if state.servable is not None
            ]
            self._versions.clear()
        for servable in servables:
            servable.close()

    def _available(self, name: str) -> dict[int, Servable]:
        return {
            version: state.servable
            for version, state in self._versions.get(name, {}).items()
            if state.state == ModelVersionStatus.AVAILABLE and state.servable
        }

    def _note_aspired(self, name: str, aspired: Mapping[int, Path]) -> None:
        """Gives new versions a state, and those that came back after their end."""
        with self._lock:
            versions = self._versions.setdefault(name, {})
            for version, path in aspired.items():
                state = versions.get(version)
                # One that failed ends too, and is tried again after it was taken away.
                if state is None or (
                    state.state == ModelVersionStatus.END and state.error is None
                ):
                    versions[version] = VersionState(path)
            for version, state in versions.items():
                if state.servable is None and version not in aspired:
                    state.state, state.error = ModelVersionStatus.END, None

    def _step(self, name: str, aspired: Mapping[int, Path]) -> bool:
        """Does one thing, in the stock server's order. False if nothing is left."""
        now = time.monotonic()
        with self._lock:
            available = self._available(name)
            superfluous = [v for v in available if v not in aspired]
            waiting = [
                version
                for version in aspired
                if self._versions[name][version].state
                in (ModelVersionStatus.START, ModelVersionStatus.LOADING)
                and self._versions[name][version].retry_at <= now
            ]
        serves_aspired = any(version in aspired for version in available)
        if superfluous and (not aspired or serves_aspired or len(superfluous) > 1):
            self._unload(name, min(superfluous))
            return True
        if waiting:
            self._load(name, max(waiting))
            return True
        return False

    def _load(self, name: str, version: int) -> None:
        with self._lock:
            state = self._versions[name][version]
            state.state = ModelVersionStatus.LOADING
        _logger.info("Loading version %s of %s", version, name)
        try:
            servable = self._loader(name, version, state.path)
        except ServingError as error:
            _logger.error("Version %s of %s did not load: %s", version, name, error)
            with self._lock:
                state.error = error
                state.failures += 1
                state.retry_at = time.monotonic() + self._retry_interval
                if state.failures > self._max_retries:
                    state.state = ModelVersionStatus.END
            return
        with self._lock:
            state.servable, state.error = servable, None
            state.state = ModelVersionStatus.AVAILABLE
        _logger.info("Version %s of %s is available", version, name)

    def _unload(self, name: str, version: int) -> None:
        with self._lock:
            state = self._versions[name][version]
            state.state = ModelVersionStatus.UNLOADING
            servable = state.servable

        def on_closed() -> None:
            with self._lock:
                state.state, state.servable = ModelVersionStatus.END, None
            # The graph's Python objects refer to each other.
            gc.collect()
            _logger.info("Version %s of %s is unloaded", version, name)

        if servable is not None:
            servable.retire(on_closed)
