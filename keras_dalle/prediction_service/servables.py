"""The models that a server holds: which versions there are, and who asks for which."""

import dataclasses
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import model_pb2

from keras_dalle.prediction_service import errors
from keras_dalle.prediction_service.session import SavedModelSession
from keras_dalle.saved_model.versions import list_versions


@dataclasses.dataclass(frozen=True)
class Servable:
    """One version of one model, ready to run."""

    name: str
    version: int
    session: SavedModelSession


class Servables:
    """Loaded models by name and version."""

    def __init__(self) -> None:
        self._models: dict[str, dict[int, Servable]] = {}

    def add(self, servable: Servable) -> None:
        self._models.setdefault(servable.name, {})[servable.version] = servable

    def find(self, model_spec: model_pb2.ModelSpec) -> Servable:
        """The version a request is for: the named one, or the latest.

        Raises:
            ServingError: There is none.
        """
        name = model_spec.name
        if not name:
            raise errors.missing_model_name()
        if model_spec.version_label:
            raise errors.unknown_label(model_spec.version_label)
        versions = self._models.get(name, {})
        asked = model_spec.version.value if model_spec.HasField("version") else None
        version = max(versions, default=None) if asked is None else asked
        if version not in versions:
            raise errors.servable_not_found(name, asked)
        return versions[version]

    def versions(self, model_spec: model_pb2.ModelSpec) -> list[int]:
        """The loaded versions that a status request is about, latest first.

        Raises:
            ServingError: There is none.
        """
        versions = self._models.get(model_spec.name, {})
        if model_spec.HasField("version"):
            version = model_spec.version.value
            if version not in versions:
                raise errors.no_such_version(model_spec.name, version)
            return [version]
        if not versions:
            raise errors.no_versions(model_spec.name)
        return sorted(versions, reverse=True)

    def close(self) -> None:
        for versions in self._models.values():
            for servable in versions.values():
                servable.session.close()


def load_latest(model_name: str, base_path: str | Path) -> Servable:
    """Loads the highest version under a base path.

    Raises:
        ServingError: There is no such path, no version in it, or it does not load.
    """
    base_path = Path(base_path).absolute()
    try:
        versions = list_versions(base_path)
    except OSError as error:
        raise errors.missing_base_path(
            str(base_path), model_name, str(error)
        ) from error
    if not versions:
        raise errors.empty_base_path(str(base_path), model_name)
    version = max(versions)
    try:
        session = SavedModelSession(versions[version])
    except tf.errors.OpError as error:
        raise errors.from_tensorflow(error) from error
    except OSError as error:
        raise errors.unreadable_version(str(versions[version]), str(error)) from error
    return Servable(model_name, version, session)
