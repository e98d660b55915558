"""What all transports ask: models by their specs, their configuration, their status."""

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.config.model_server_config_pb2 import (
    ModelConfig,
    ModelServerConfig,
    ModelType,
)

from keras_dalle.prediction_service import errors
from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.local_paths import local_path
from keras_dalle.prediction_service.manager import ServableManager
from keras_dalle.prediction_service.servables import Servable
from keras_dalle.prediction_service.version_policy import VersionFinder

SIGNATURE_DEF = "signature_def"
_CONFIG_LIST = "model_config_list"
_PLATFORM = "tensorflow"

_logger = logging.getLogger(__name__)


class ServerCore:
    """Several models, each with its version policy and labels.

    Args:
        manager: Holds the versions.
        labels_may_wait: Labels may name versions that are not loaded yet.
    """

    def __init__(self, manager: ServableManager, labels_may_wait: bool = False):
        self._manager = manager
        self._labels_may_wait = labels_may_wait
        self._config_lock = threading.Lock()
        self._finder = VersionFinder()
        self._models: list[ModelConfig] = []
        self._aspired: dict[str, dict[int, Path]] = {}
        self._labels: dict[str, dict[str, int]] = {}
        # Models that have had an available version since they were configured.
        self._served: set[str] = set()

    def configure(self, config: ModelServerConfig) -> None:
        """Takes the first configuration, which may be empty; `poll` loads its models.

        Raises:
            ServingError: The configuration is refused.
        """
        if config.WhichOneof("config") is None:
            _logger.warning("The configuration is empty: there is nothing to serve yet")
            return
        with self._config_lock:
            models = _validated(config)
            self._take(models, self._checked_labels(models), {})

    def reload(self, config: ModelServerConfig) -> None:
        """Serves these models from now on, and no others.

        Returns when each has had an available version.

        Raises:
            ServingError: The configuration is refused, and all stays as it was; or a
                model did not load.
        """
        with self._config_lock:
            models = _validated(config)
            labels = self._checked_labels(models)
            aspired = {model.name: self._finder.find(model) for model in models}
            self._take(models, labels, aspired)
            self._manager.reconcile(aspired)
            if failed := self.unavailable():
                raise errors.models_not_available(failed)

    def poll(self) -> None:
        """Looks for new versions on disk. An unreadable path changes nothing."""
        with self._config_lock:
            for model in self._models:
                # The finder has logged it.
                with contextlib.suppress(ServingError):
                    self._aspired[model.name] = self._finder.find(model)
            self._manager.reconcile(self._aspired)
            self.unavailable()

    def retry(self) -> None:
        """Tries failed versions again, if it is time, without a look at the disk."""
        with self._config_lock:
            self._manager.reconcile(self._aspired)
            self.unavailable()

    def model_names(self) -> list[str]:
        """Returns the names of the configured models."""
        return [model.name for model in self._models]

    def unavailable(self) -> dict[str, tuple[int | None, ServingError]]:
        """Why models have had no available version yet, with the one that failed."""
        found: dict[str, tuple[int | None, ServingError]] = {}
        for name in self.model_names():
            states = self._manager.states(name)
            if any(state.servable for state in states.values()):
                self._served.add(name)
            if name in self._served:
                continue
            failed = [(v, state.error) for v, state in states.items() if state.error]
            if failed:
                found[name] = failed[0]
            elif name in self._finder.problems:
                found[name] = (None, self._finder.problems[name])
        return found

    @contextlib.contextmanager
    def use(self, model_spec: ModelSpec) -> Iterator[Servable]:
        """The version that a request is for, open while the `with` block runs.

        Raises:
            ServingError: There is none.
        """
        if not model_spec.name:
            raise errors.missing_model_name()
        version = None
        match model_spec.WhichOneof("version_choice"):
            case "version":
                version = model_spec.version.value
            case "version_label":
                label = model_spec.version_label
                version = self._labels.get(model_spec.name, {}).get(label)
                if version is None:
                    raise errors.unknown_label(label)
        with self._manager.use(model_spec.name, version) as servable:
            yield servable

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """GetModelStatus: of one version, or of all that there have been.

        Raises:
            ServingError: There is no spec, or no such version.
        """
        if not request.HasField("model_spec"):
            raise errors.missing_model_spec()
        spec = request.model_spec
        states = self._manager.states(spec.name)
        if spec.HasField("version"):
            version = spec.version.value
            if version not in states:
                raise errors.no_such_version(spec.name, version)
            states = {version: states[version]}
        elif not states:
            raise errors.no_versions(spec.name)
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, state in states.items():
            status = response.model_version_status.add(
                version=version, state=state.state
            )
            status.status.SetInParent()
            if state.error is not None:
                status.status.error_code = state.error.code.value[0]
                status.status.error_message = state.error.message
        return response

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """GetModelMetadata: the signatures.

        Raises:
            ServingError: The request is for something else, or for no model.
        """
        if not request.HasField("model_spec"):
            raise errors.missing_model_spec()
        if not request.metadata_field:
            raise errors.no_metadata_field()
        for field in request.metadata_field:
            if field != SIGNATURE_DEF:
                raise errors.unknown_metadata_field(field)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self.use(request.model_spec) as servable:
            for name, signature in servable.session.signatures.items():
                signatures.signature_def[name].CopyFrom(signature)
            response.model_spec.name = servable.name
            response.model_spec.version.value = servable.version
        response.metadata[SIGNATURE_DEF].Pack(signatures)
        return response

    def _checked_labels(self, models: list[ModelConfig]) -> dict[str, dict[str, int]]:
        labels: dict[str, dict[str, int]] = {}
        for model in models:
            for label, version in model.version_labels.items():
                moved = self._labels.get(model.name, {}).get(label, version) != version
                may_wait = self._labels_may_wait and not moved
                if not may_wait and not self._manager.is_available(model.name, version):
                    raise errors.label_of_unavailable_version(model.name, version)
                labels.setdefault(model.name, {})[label] = version
        return labels

    def _take(
        self,
        models: list[ModelConfig],
        labels: dict[str, dict[str, int]],
        aspired: dict[str, dict[int, Path]],
    ) -> None:
        self._models, self._labels, self._aspired = models, labels, aspired
        self._served.intersection_update(self.model_names())


def _validated(config: ModelServerConfig) -> list[ModelConfig]:
    """The configured models, checked as the stock server does."""
    if config.WhichOneof("config") != _CONFIG_LIST:
        raise errors.unsupported_config()
    models = list(config.model_config_list.config)
    names = set()
    for model in models:
        if model.name in names:
            raise errors.model_listed_twice(model.name)
        names.add(model.name)
    for model in models:
        try:
            path = local_path(model.base_path)
        except ValueError as error:
            raise errors.foreign_base_path(model.name, str(error)) from error
        if not path.is_absolute():
            raise errors.relative_base_path(model.name, model.base_path)
    for model in models:
        _check_platform(model)
    return models


def _check_platform(model: ModelConfig) -> None:
    platform = model.model_platform
    if model.model_type:
        if platform:
            raise errors.two_platforms(model.name)
        if model.model_type != ModelType.TENSORFLOW:
            raise errors.unsupported_model_type(model.model_type)
    elif not platform:
        raise errors.no_platform(model.name)
    elif platform != _PLATFORM:
        raise errors.unsupported_platform(model.name, platform)
