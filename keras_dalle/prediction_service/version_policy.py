"""Which of the versions on disk a model's policy wants to be served."""

import logging
from pathlib import Path

from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from keras_dalle.prediction_service import errors
from keras_dalle.saved_model.versions import list_versions

_logger = logging.getLogger(__name__)


def aspired_versions(model: ModelConfig) -> dict[int, Path]:
    """The folders of the wanted versions by number, which may be none.

    Args:
        model: Its base path, and its policy: the latest version or versions (the
            default), all of them, or specific ones.

    Raises:
        ServingError: There is no such base path.
    """
    try:
        versions = list_versions(model.base_path)
    except OSError as error:
        raise errors.missing_base_path(
            model.base_path, model.name, str(error)
        ) from error
    policy = model.model_version_policy
    match policy.WhichOneof("policy_choice"):
        case "all":
            return versions
        case "specific":
            wanted = set(policy.specific.versions)
            if missing := wanted - set(versions):
                _logger.warning(
                    "Versions %s of model %s are wanted and not in %s",
                    sorted(missing),
                    model.name,
                    model.base_path,
                )
            return {v: path for v, path in versions.items() if v in wanted}
        case _:
            count = max(policy.latest.num_versions, 1)
            latest = sorted(versions, reverse=True)[:count]
            return {version: versions[version] for version in latest}
