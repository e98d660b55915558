"""Which of the versions on disk a model's policy wants to be served."""

import heapq
import logging
from pathlib import Path

from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from keras_dalle.prediction_service import errors
from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.local_paths import local_path
from keras_dalle.saved_model.versions import list_versions

_SHOWN_VERSIONS = 10

_logger = logging.getLogger(__name__)


class VersionFinder:
    """Finds the wanted versions, and logs each problem once, until it changes.

    Attributes:
        problems: Model name -> the reason why it has no version.
    """

    def __init__(self) -> None:
        self.problems: dict[str, ServingError] = {}
        self._said: dict[str, str] = {}

    def find(self, model: ModelConfig) -> dict[int, Path]:
        """Returns the folders of the wanted versions by number; there may be none.

        Args:
            model: The model with its base path and its policy: the latest version or
                versions (the default), all of them, or specific ones.

        Raises:
            ServingError: There is no such base path.
        """
        try:
            found = _list_versions(model)
        except ServingError as error:
            self._note(model.name, error)
            raise
        versions = _wanted(model, found)
        self._note(
            model.name,
            None if versions else errors.empty_base_path(model.base_path, model.name),
            _missing(model, found),
        )
        return versions

    def _note(self, name: str, problem: ServingError | None, remark: str = "") -> None:
        self.problems.pop(name, None)
        if problem is not None:
            self.problems[name] = problem
            remark = remark or problem.message
        if remark and remark != self._said.get(name):
            _logger.warning("%s", errors.truncated(remark))
        self._said[name] = remark


def _list_versions(model: ModelConfig) -> dict[int, Path]:
    try:
        return list_versions(local_path(model.base_path))
    except FileNotFoundError as error:
        reason = f"NOT_FOUND: {model.base_path} not found"
        raise errors.missing_base_path(model.base_path, model.name, reason) from error
    # A path of the caller's may hold a NUL, which is a `ValueError`.
    except (OSError, ValueError) as error:
        raise errors.missing_base_path(
            model.base_path, model.name, str(error)
        ) from error


def _wanted(model: ModelConfig, found: dict[int, Path]) -> dict[int, Path]:
    policy = model.model_version_policy
    match policy.WhichOneof("policy_choice"):
        case "all":
            return found
        case "specific":
            return {v: path for v, path in found.items() if v in _specific(model)}
        case _:
            count = max(policy.latest.num_versions, 1)
            latest = sorted(found, reverse=True)[:count]
            return {version: found[version] for version in latest}


def _specific(model: ModelConfig) -> set[int]:
    return set(model.model_version_policy.specific.versions)


def _missing(model: ModelConfig, found: dict[int, Path]) -> str:
    """Returns the specific versions that do not exist."""
    missing = _specific(model) - set(found)
    if not missing:
        return ""
    first = heapq.nsmallest(_SHOWN_VERSIONS, missing)
    more = f" and {len(missing) - len(first)} more" if len(missing) > len(first) else ""
    return (
        f"Versions {first}{more} of model {model.name} are wanted and not in "
        f"{model.base_path}"
    )
