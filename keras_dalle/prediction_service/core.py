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
)

from keras_dalle.prediction_service import errors
from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.manager import ServableManager
from keras_dalle.prediction_service.servables import Servable
from keras_dalle.prediction_service.version_policy import aspired_versions

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
        self._config = ModelServerConfig()
        self._aspired: dict[str, dict[int, Path]] = {}
        self._labels: dict[str, dict[str, int]] = {}

    def reload(self, config: ModelServerConfig) -> None:
        """Serves these models from now on, and no others.

        Returns when each new one has an available version.

        Raises:
            ServingError: The configuration is refused, and all stays as it was; or a
                new model did not load.
        """
        with self._config_lock:
            models = _validated(config)
            labels = self._checked_labels(models)
            aspired = {model.name: aspired_versions(model) for model in models}
            new = [model for model in models if model.name not in self._aspired]
            self._config.CopyFrom(config)
            self._labels, self._aspired = labels, aspired
            self._manager.reconcile(aspired)
            self._require_available(new)

    def poll(self) -> None:
        """Looks for new versions on disk. An unreadable path changes nothing."""
        with self._config_lock:
            for model in self._config.model_config_list.config:
                try:
                    self._aspired[model.name] = aspired_versions(model)
                except ServingError as error:
                    _logger.error("%s", error)
            self._manager.reconcile(self._aspired)

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

    def _require_available(self, models: list[ModelConfig]) -> None:
        failed = {}
        for model in models:
            states = self._manager.states(model.name)
            if not any(state.servable for state in states.values()):
                reasons = [(v, s.error) for v, s in states.items() if s.error]
                nothing = errors.empty_base_path(model.base_path, model.name)
                failed[model.name] = reasons[0] if reasons else (None, nothing)
        if failed:
            raise errors.models_not_available(failed)


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
        if not Path(model.base_path).is_absolute():
            raise errors.relative_base_path(model.name, model.base_path)
    for model in models:
        if not model.model_platform:
            raise errors.no_platform(model.name)
        if model.model_platform != _PLATFORM:
            raise errors.unsupported_platform(model.name, model.model_platform)
    return models
